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

// Reason is why a call failed, in one word. The set is closed: it is the value of a label.
type Reason string

// The reasons of a failed call.
const (
	ReasonAuth      Reason = "auth"      // rejected, paused or missing credentials (401, CSS.0045)
	ReasonDenied    Reason = "denied"    // a missing permission (403, CSS.0051, CSS.5313)
	ReasonNotFound  Reason = "not_found" // 404
	ReasonInvalid   Reason = "invalid"   // any other unexpected status
	ReasonThrottled Reason = "throttled" // 429
	ReasonTimeout   Reason = "timeout"
	ReasonServer    Reason = "server"    // 5xx, 202 with CSS.0011
	ReasonTransport Reason = "transport" // DNS, TLS, or a connection that failed or broke
	ReasonDecode    Reason = "decode"    // an invalid body
)

// Reasons returns every reason, in the order of the documentation.
func Reasons() []Reason {
	return []Reason{
		ReasonAuth, ReasonDenied, ReasonNotFound, ReasonInvalid, ReasonThrottled,
		ReasonTimeout, ReasonServer, ReasonTransport, ReasonDecode,
	}
}

// Codes of the API with a meaning of their own.
const (
	codeServiceOff    = "CSS.5182" // the cluster's VPC endpoint service is disabled
	codeNoPermission  = "CSS.0051" // denied, arrives as 400
	codeActionRefused = "CSS.5313" // likewise
	codeNoSuchCluster = "CSS.0015" // the cluster is missing or belongs to another account
	codeWrongToken    = "CSS.0045" //nolint:gosec // not a secret: rejected credentials, arrives as 400
	codeTryLater      = "CSS.0011" // arrives as 202
	codeTokenExpired  = "0307"     // of the gateway, after APIGW. or APIG.
)

// Limits of error bodies and of what is kept of them, in bytes.
const (
	maxErrorBody       = 64 << 10
	maxErrorMessage    = 200
	maxErrorIdentifier = 128
)

// Error is a failed call. It never holds the body of an answer: the gateway echoes the signed request with its security token.
type Error struct {
	Reason    Reason
	Operation string // "connections", "clusters", "projects" or "token"
	Status    int    // HTTP status; 0 if there was no answer
	Code      string // the API's error code, such as "CSS.0015"; may be empty
	RequestID string // for the cloud's support; may be empty
	Message   string // short and cleaned
	Err       error  // the cause, if it is not the API's answer

	hint       string // overrides the general one
	retryAfter Optional[time.Duration]
	broken     bool // the connection broke: another try may succeed
	sent       bool // see Sent
	suspicious bool // the project's next request should be a single try
}

// Sent reports whether a request was sent before the call failed.
func (e *Error) Sent() bool { return e.sent }

func (e *Error) Error() string {
	parts := []string{e.Operation}
	if e.Status != 0 {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("HTTP %d %s", e.Status, e.Code)))
	}
	if e.Message != "" {
		parts = append(parts, e.Message)
	}
	return strings.Join(parts, ": ")
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// tokenExpired reports whether the gateway rejected a token because it has expired.
func (e *Error) tokenExpired() bool {
	prefix, number, _ := strings.Cut(e.Code, ".")
	return e.Reason == ReasonAuth && (prefix == "APIGW" || prefix == "APIG") && number == codeTokenExpired
}

// Hint returns what a person can do about the failure: one sentence without a full stop.
func (e *Error) Hint() string {
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	switch {
	case e.hint != "":
		return e.hint
	case e.tokenExpired():
		return "the token has expired: check whatever renews it"
	case e.Reason == ReasonAuth && e.Operation == opToken:
		return "check the user's name, domain and password; rejected passwords are paused, so that the cloud does not lock the user"
	case e.Reason == ReasonAuth:
		return "check the access key, the secret key, the security token and the clock of this machine; " +
			"rejected credentials are paused, so that the cloud does not lock them"
	case e.Code == codeNoSuchCluster:
		return "check the cluster ID and the project; if the cluster exists, allow css:VPCEndpoint:listConnection on it"
	case e.Reason == ReasonDenied && e.Operation == opToken:
		return "the user may not log in to this project: check the user's status and access mode in IAM"
	case e.Reason == ReasonDenied:
		return "allow css:cluster:list, css:VPCEndpoint:listConnection and vpcep:endpoints:get"
	case e.Reason == ReasonNotFound && (e.Operation == opToken || e.Operation == opProjects):
		return "check iam_endpoint"
	case e.Reason == ReasonNotFound:
		return "check endpoint, project_id and the cluster ID"
	case e.Reason == ReasonThrottled:
		return "lower requests_per_second, scrape less often, or set scrape.min_interval"
	case e.Reason == ReasonTimeout:
		return "raise scrape_timeout in Prometheus, or check for a slow network or proxy"
	case errors.As(e.Err, &dns):
		return "the endpoint's name cannot be resolved: check region, endpoint and DNS"
	case errors.As(e.Err, &cert):
		return "the endpoint's certificate is not trusted: set tls_config.ca_file, or check endpoint and proxy"
	case e.Reason == ReasonTransport:
		return "check the network between this machine and the endpoint, and proxy_url"
	case e.Reason == ReasonDecode:
		return "the response is not from the CSS API: check endpoint and proxy"
	case e.Reason == ReasonServer:
		return "the cloud's API is failing; the exporter keeps trying"
	}
	return "look up the code in the cloud's documentation, or give the request ID to its support"
}

// LogFields returns the fields of a log record about a failed call: code and request_id, if err has them, hint and err.
func LogFields(err error) []any {
	var fields []any
	if e, ok := errors.AsType[*Error](err); ok {
		if e.Code != "" {
			fields = append(fields, "code", e.Code)
		}
		if e.RequestID != "" {
			fields = append(fields, "request_id", e.RequestID)
		}
		fields = append(fields, "hint", e.Hint())
	}
	return append(fields, "err", err)
}

// ReasonOf returns the reason of an error. Errors of other packages are timeouts if a context ended, or else transport errors.
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

// reasonOfStatus returns the reason of a status other than 200.
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

// statusError returns the error of an answer other than 200. Only short, well-formed parts of the body are kept.
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

// shortestSecret is the shortest text that is looked for in answers: a shorter one would be found in any text.
const shortestSecret = 8

// redact removes the credentials from a text of the API, which may quote them in any of the forms of spellings.
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

// spellings returns the forms of a text in JSON, in a URL and in base64.
func spellings(text string) []string {
	quoted, _ := json.Marshal(text)             // escapes <, > and &
	plain, _ := jsontext.AppendQuote(nil, text) // does not
	return []string{
		text, string(quoted[1 : len(quoted)-1]), string(plain[1 : len(plain)-1]),
		url.QueryEscape(text), url.PathEscape(text), escape(text),
		base64.RawStdEncoding.EncodeToString([]byte(text)), base64.RawURLEncoding.EncodeToString([]byte(text)),
	}
}

// errorFields reads the known shapes of error bodies: CSS's own, the gateway's, and two of IAM's.
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
	// A field of another type is an error, but the other fields are decoded.
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

// identifier returns a code or a request ID, or nothing if s does not look like one.
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

// cleanMessage returns the first printable line of an API's message, up to the first mention of the signature: the signed
// request is echoed there.
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

// asciiLower keeps the length of the text, which the lower case of other letters may change.
func asciiLower(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		return r - 'A' + 'a'
	}
	return r
}

// transportError returns the error of an exchange without a complete answer. net/http quotes malformed answers, which may
// echo what was signed, so only errors that do not are kept.
func transportError(operation string, status int, err error, credentials Credentials) *Error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // without the URL
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

// retryable reports whether a failed exchange may succeed at once: an unknown name and an untrusted certificate cannot.
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

// NewTimeoutError returns the error of a cluster that was not read because a deadline passed while waiting.
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
