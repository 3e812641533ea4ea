// SPDX-License-Identifier: Apache-2.0

package css

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// Reason says in one word why a call failed. The set is closed: it is a label's value.
type Reason string

// The reasons of a failed call.
const (
	ReasonAuth      Reason = "auth"      // the credentials were not accepted (401), are resting, or cannot be had
	ReasonDenied    Reason = "denied"    // the credentials may not do this (403, CSS.0051, CSS.5313)
	ReasonNotFound  Reason = "not_found" // 404
	ReasonInvalid   Reason = "invalid"   // any other status that is no answer
	ReasonThrottled Reason = "throttled" // 429
	ReasonTimeout   Reason = "timeout"   // the deadline came first
	ReasonServer    Reason = "server"    // 5xx
	ReasonTransport Reason = "transport" // DNS, TLS, a connection that could not be made or broke
	ReasonDecode    Reason = "decode"    // a body that is no answer
)

// Reasons lists every reason, in the order of the documentation.
func Reasons() []Reason {
	return []Reason{
		ReasonAuth, ReasonDenied, ReasonNotFound, ReasonInvalid, ReasonThrottled,
		ReasonTimeout, ReasonServer, ReasonTransport, ReasonDecode,
	}
}

// Codes of the API that change what is done.
const (
	codeServiceOff    = "CSS.5182" // the VPC endpoint service of the cluster is switched off
	codeNoPermission  = "CSS.0051" // a denial that arrives as 400
	codeActionRefused = "CSS.5313" // likewise
	codeNoSuchCluster = "CSS.0015" // the cluster is missing, or not this account's: the API does not tell which
	codeWrongToken    = "CSS.0045" //nolint:gosec // not a secret: wrong credentials that arrive as 400
	codeTryLater      = "CSS.0011" // arrives as 202 and is not an answer
	codeTokenExpired  = "0307"     // of the gateway, whose codes begin with APIGW. or APIG.
)

// How many bytes of an error's body are read, and of what stands in it are kept.
const (
	maxErrorBody       = 64 << 10
	maxErrorMessage    = 200
	maxErrorIdentifier = 128
)

// Error is a failed call. It never holds the body of an answer: the gateway echoes the signed request, security token
// and all, in its refusals.
type Error struct {
	Reason    Reason
	Operation string // what was asked: "connections", "clusters", "projects", "token"
	Status    int    // HTTP status; 0 if there was no answer
	Code      string // the API's error code, such as "CSS.0015"; may be empty
	RequestID string // what the cloud's support asks for; may be empty
	Message   string // short and cleaned
	Err       error  // what was underneath, if that was an error of this side

	hint       string                  // in the place of what Hint would say
	retryAfter Optional[time.Duration] // as the server asked
	broken     bool                    // the connection broke: another try may succeed
	sent       bool                    // see Sent
	suspicious bool                    // the project's next request should be a single try
}

// Sent reports whether a request was sent before the call failed.
func (e *Error) Sent() bool { return e.sent }

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Operation)
	b.WriteString(": ")
	if e.Status != 0 {
		fmt.Fprintf(&b, "HTTP %d", e.Status)
		if e.Code != "" {
			b.WriteString(" " + e.Code)
		}
		if e.Message != "" {
			b.WriteString(": ")
		}
	}
	b.WriteString(e.Message)
	return b.String()
}

// Unwrap gives the error underneath, nil where the API itself said no.
func (e *Error) Unwrap() error { return e.Err }

// tokenExpired says whether the gateway refused a token because it has ended.
func (e *Error) tokenExpired() bool {
	prefix, number, _ := strings.Cut(e.Code, ".")
	return e.Reason == ReasonAuth && (prefix == "APIGW" || prefix == "APIG") && number == codeTokenExpired
}

// Hint says what a person can do about the failure: one sentence without a full stop.
func (e *Error) Hint() string {
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	switch {
	case e.hint != "":
		return e.hint
	case e.tokenExpired():
		return "the token has expired; see that whoever renews it still does"
	case e.Reason == ReasonAuth && e.Operation == opToken:
		return "check the user's name, domain and password; rejected passwords are paused, so that the cloud does not lock the user"
	case e.Reason == ReasonAuth:
		return "check the access key, the secret key, the security token and the clock of this machine; " +
			"rejected credentials are paused, so that the cloud does not lock them"
	case e.Code == codeNoSuchCluster:
		return "the cluster does not exist in this project, or the credentials may not see it"
	case e.Reason == ReasonDenied && e.Operation == opToken:
		return "IAM does not let the user log in to this project: check the user's status and access mode in the console"
	case e.Reason == ReasonDenied:
		return "allow css:cluster:list, css:VPCEndpoint:listConnection and vpcep:endpoints:get to these credentials"
	case e.Reason == ReasonNotFound && (e.Operation == opToken || e.Operation == opProjects):
		return "check iam_endpoint"
	case e.Reason == ReasonNotFound:
		return "check endpoint, project_id and the cluster's id"
	case e.Reason == ReasonThrottled:
		return "lower requests_per_second, scrape less often, or set scrape.min_interval"
	case e.Reason == ReasonTimeout:
		return "raise scrape_timeout in Prometheus, or look for a slow network or proxy"
	case errors.As(e.Err, &dns):
		return "the endpoint's name cannot be resolved: check region, endpoint and DNS"
	case errors.As(e.Err, &cert):
		return "the endpoint's certificate is not trusted: set tls_config.ca_file, or check endpoint and proxy"
	case e.Reason == ReasonTransport:
		return "check the network between this machine and the endpoint, and proxy_url"
	case e.Reason == ReasonDecode:
		return "what answered is not the CSS API: check endpoint and proxy"
	case e.Reason == ReasonServer:
		return "the cloud's API is in trouble; the next scrape tries again"
	}
	return "look the code up in the cloud's documentation, or give the request id to its support"
}

// ReasonOf gives the reason of an error of this package. An error from elsewhere that ended the wait is a timeout; any
// other is of the transport.
func ReasonOf(err error) Reason {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Reason
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return ReasonTimeout
	}
	return ReasonTransport
}

// reasonOfStatus follows the table of the documentation; status is not 200.
func reasonOfStatus(status int, code string) Reason {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusBadRequest && code == codeWrongToken:
		return ReasonAuth
	case status == http.StatusForbidden, code == codeNoPermission, code == codeActionRefused:
		return ReasonDenied
	case status == http.StatusNotFound:
		return ReasonNotFound
	case status == http.StatusTooManyRequests:
		return ReasonThrottled
	case status >= 500 && status <= 599, status == http.StatusAccepted && code == codeTryLater:
		return ReasonServer
	}
	return ReasonInvalid
}

// statusError makes the error of an answer that is no 200. Only short, well-formed parts of the body survive.
func statusError(operation string, answer *http.Response, body []byte, credentials Credentials) *Error {
	status := answer.StatusCode
	code, message, requestID := errorFields(body)
	code = identifier(credentials.redact(code))
	requestID = identifier(credentials.redact(requestID))
	if id := identifier(credentials.redact(answer.Header.Get("X-Request-Id"))); id != "" {
		requestID = id
	}
	e := &Error{
		Reason:     reasonOfStatus(status, code),
		Operation:  operation,
		Status:     status,
		Code:       code,
		RequestID:  requestID,
		Message:    cleanMessage(credentials.redact(message)),
		retryAfter: retryAfter(answer.Header.Get("Retry-After"), time.Now()),
	}
	switch {
	case e.Reason == ReasonAuth:
		e.Message = "the credentials were rejected"
		e.hint = clockHint(answer.Header.Get("Date"), time.Now())
	case status >= 300 && status <= 399:
		e.Message = "redirect not followed"
	}
	return e
}

// maxClockSkew is how far this machine's clock may be off before it is named as the cause of a rejected signature. The
// cloud tolerates 15 minutes.
const maxClockSkew = 5 * time.Minute

// clockHint compares the clock of this machine with the Date of an answer; it is empty if they agree.
func clockHint(date string, now time.Time) string {
	theirs, err := http.ParseTime(date)
	skew := now.Sub(theirs).Round(time.Second)
	switch {
	case err != nil || skew.Abs() <= maxClockSkew:
		return ""
	case skew > 0:
		return fmt.Sprintf("the clock of this machine is %s ahead of the server's: synchronize it", skew)
	}
	return fmt.Sprintf("the clock of this machine is %s behind the server's: synchronize it", -skew)
}

// shortestSecret is the length in bytes below which a text is not looked for in answers: real credentials are longer,
// and a short one would be found in any text.
const shortestSecret = 8

// redact takes the credentials out of what the API said, should it have quoted them, in whatever form it got them.
func (c Credentials) redact(said string) string {
	if said == "" {
		return ""
	}
	for _, secret := range []string{c.SecretKey, c.SecurityToken, c.AuthToken, c.AccessKey} {
		if len(secret) < shortestSecret {
			continue
		}
		for _, form := range spellings(secret) {
			said = strings.ReplaceAll(said, form, "<secret>")
		}
	}
	return said
}

// spellings are the forms that a text takes in JSON, in an address and in base64.
func spellings(text string) []string {
	quoted, _ := json.Marshal(text)             // as this side sends it; a text cannot fail
	plain, _ := jsontext.AppendQuote(nil, text) // as others do, who leave <, > and & alone
	return []string{
		text, string(quoted[1 : len(quoted)-1]), string(plain[1 : len(plain)-1]),
		url.QueryEscape(text), url.PathEscape(text), escape(text),
		base64.RawStdEncoding.EncodeToString([]byte(text)), base64.RawURLEncoding.EncodeToString([]byte(text)),
	}
}

// errorFields reads the shapes of error bodies that have been seen: CSS's own, the gateway's, and two of IAM's.
func errorFields(body []byte) (code, message, requestID string) {
	var wire struct {
		ErrCode         any `json:"errCode"`
		ErrorCode       any `json:"error_code"`
		ExternalMessage any `json:"externalMessage"`
		ErrorMsg        any `json:"error_msg"`
		Message         any `json:"message"`
		RequestID       any `json:"request_id"`
		Error           struct {
			Code    any `json:"code"`
			Message any `json:"message"`
		} `json:"error"`
	}
	// A field of another type makes an error but leaves what was read before and after it.
	_ = json.Unmarshal(body, &wire)
	return firstText(wire.ErrCode, wire.ErrorCode, wire.Error.Code),
		firstText(wire.ExternalMessage, wire.ErrorMsg, wire.Message, wire.Error.Message),
		firstText(wire.RequestID)
}

func firstText(values ...any) string {
	for _, value := range values {
		switch v := value.(type) {
		case string:
			if v != "" {
				return v
			}
		case float64:
			return strconv.FormatFloat(v, 'f', -1, 64)
		}
	}
	return ""
}

// identifier lets a code or a request id pass if it looks like one, and nothing else.
func identifier(s string) string {
	if len(s) > maxErrorIdentifier {
		return ""
	}
	for _, r := range s {
		if r > unicode.MaxASCII || (!unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-:", r)) {
			return ""
		}
	}
	return s
}

// cleanMessage keeps the first printable line of an API's message. Whatever follows a mention of the signature is
// dropped: that is where the signed request is echoed.
func cleanMessage(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(strings.ToValidUTF8(s, "?")), "\n")
	lower := strings.Map(asciiLower, s) // of the same length as s
	for _, mark := range []string{"canonical", "authorization", "x-sdk-date", "x-security-token", "x-auth-token", "signature"} {
		if i := strings.Index(lower, mark); i >= 0 {
			s, lower = s[:i], lower[:i]
		}
	}
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	return strings.TrimRight(Clean(s, maxErrorMessage), " ,;:")
}

// asciiLower leaves other letters alone, whose lower case may have another length.
func asciiLower(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		return r - 'A' + 'a'
	}
	return r
}

// transportError makes the error of an exchange that brought no whole answer. What net/http says of an answer that is no
// HTTP quotes the answer, which may echo what was signed; so only errors that do not are kept.
func transportError(operation string, status int, err error, credentials Credentials) *Error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // without the address, which the log line has already
	}
	e := &Error{Reason: ReasonTransport, Operation: operation, Status: status, broken: retryable(err)}
	var network *net.OpError
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &network), errors.As(err, &dns), errors.As(err, &certificate),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, context.Canceled):
		e.Message, e.Err = cleanMessage(credentials.redact(err.Error())), err
	case strings.Contains(err.Error(), "HTTP/1.x transport connection broken"):
		e.Message = "malformed HTTP response"
	default:
		e.Message = cleanMessage(credentials.redact(err.Error()))
	}
	return e
}

// retryable says whether a failed exchange may succeed if tried again at once: a name that does not exist and a
// certificate that is not trusted will be so next time too.
func retryable(err error) bool {
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &cert):
		return false
	case errors.As(err, &dns):
		return dns.IsTemporary && !dns.IsNotFound
	}
	return true
}

// retryAfter reads the header's two forms, seconds and a date.
func retryAfter(value string, now time.Time) Optional[time.Duration] {
	value = strings.TrimSpace(value)
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return some(time.Duration(seconds) * time.Second)
	}
	if at, err := http.ParseTime(value); err == nil {
		return some(max(at.Sub(now), 0))
	}
	return Optional[time.Duration]{}
}

// timeoutError returns the error of a deadline that passed while waiting.
func timeoutError(operation, waitedFor string, cause error) *Error {
	return &Error{Reason: ReasonTimeout, Operation: operation, Message: "timed out waiting for " + waitedFor, Err: cause}
}

// NewTimeoutError returns the error of a cluster that could not be read because a deadline passed while waiting.
func NewTimeoutError(waitedFor string, cause error) *Error {
	return timeoutError(opConnections, waitedFor, cause)
}

// callerGaveUp reports whether a call failed only because its own caller had no more time.
func callerGaveUp(ctx context.Context, err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ctx.Err() != nil || ok && e.Reason == ReasonTimeout && !e.sent
}

func decodeError(operation, message string) *Error {
	return &Error{Reason: ReasonDecode, Operation: operation, Message: message}
}
