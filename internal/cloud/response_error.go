// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"bytes"
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

	"css_vpcep_exporter/internal/clean"
	"css_vpcep_exporter/internal/network"

	"github.com/go-json-experiment/json/jsontext"
)

// Limits in bytes.
const (
	maxErrorBody       = 64 << 10
	maxErrorMessage    = 200
	maxErrorIdentifier = 128
)

// Codes of CSS that contradict their status. They count for every API, in case one backend answers for several.
const (
	codeWrongToken    = "CSS.0045" //nolint:gosec // with status 400
	codeNoPermission  = "CSS.0051" // with status 400
	codeActionRefused = "CSS.5313" // with status 400
	codeTryLater      = "CSS.0011" // with status 202
)

func reasonOfResponse(status int, code string) Reason {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusBadRequest && code == codeWrongToken:
		return ReasonAuth
	case status == http.StatusAccepted && code == codeTryLater:
		return ReasonServer
	case status == http.StatusForbidden, code == codeNoPermission, code == codeActionRefused:
		return ReasonDenied
	case status == http.StatusNotFound:
		return ReasonNotFound
	case status == http.StatusTooManyRequests:
		return ReasonThrottled
	case status >= 500 && status <= 599:
		return ReasonServer
	}
	return ReasonInvalid
}

// statusError keeps only short, well-formed parts of the body.
func statusError(r *Request, resp *http.Response, body []byte, credentials Credentials) *Error {
	status := resp.StatusCode
	code, message, requestID := errorFields(body)
	code = identifier(credentials.redact(code))
	requestID = identifier(credentials.redact(requestID))
	if id := identifier(credentials.redact(resp.Header.Get("X-Request-Id"))); id != "" {
		requestID = id
	}
	e := &Error{
		Reason:     reasonOfResponse(status, code),
		Operation:  r.Operation,
		Status:     status,
		Code:       code,
		RequestID:  requestID,
		Message:    cleanMessage(credentials.redact(message)),
		retryAfter: retryAfter(resp.Header.Get("Retry-After"), time.Now()),
	}
	switch {
	case e.Reason == ReasonAuth:
		e.Message = "the credentials were rejected"
		e.hint = ClockHint(resp.Header.Get("Date"), time.Now())
	case status >= 300 && status <= 399:
		e.Message = "redirect not followed"
		e.hint = "the endpoint redirects: write the address to which it leads into endpoint or iam_endpoint, or check the " +
			"proxy, which may show its own page"
	case status == http.StatusProxyAuthRequired:
		e.Message, e.hint = "the proxy requires authentication", network.HintProxyLogin
	case status == http.StatusBadRequest && code == "" && bytes.Contains(body, []byte("HTTPS")):
		e.Message, e.hint = "the server expects HTTPS", "write https:// in endpoint"
	case status == http.StatusBadRequest && code == "" && bytes.Contains(body, []byte("SSL certificate")):
		e.hint = network.HintClientCertificate
	case e.Reason == ReasonServer && code == "" && strings.HasPrefix(r.Endpoint, "http:"): // a proxy can answer
		e.hint = "the cloud's API, or a proxy in front of it, is failing; the exporter keeps trying"
	}
	return e
}

// maxClockSkew is tolerated before the clock is blamed for a rejected signature. The cloud tolerates 15 minutes.
const maxClockSkew = 5 * time.Minute

// ClockHint returns a hint if the clock differs too much from the Date of a response, or "".
func ClockHint(date string, now time.Time) string {
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

// shortestSecret is the minimum length of a secret to redact: a shorter one may appear by chance.
const shortestSecret = 8

func (c Credentials) redact(s string) string {
	if s == "" {
		return ""
	}
	for _, secret := range []string{c.SecretKey, c.SecurityToken, c.AuthToken, c.AccessKey} {
		if len(secret) < shortestSecret {
			continue
		}
		for _, form := range encodings(secret) {
			s = strings.ReplaceAll(s, form, "<secret>")
		}
	}
	return s
}

func encodings(s string) []string {
	quoted, _ := json.Marshal(s)             // escapes <, > and &
	plain, _ := jsontext.AppendQuote(nil, s) // does not
	return []string{
		s, string(quoted[1 : len(quoted)-1]), string(plain[1 : len(plain)-1]),
		url.QueryEscape(s), url.PathEscape(s), escape(s),
		base64.RawStdEncoding.EncodeToString([]byte(s)), base64.RawURLEncoding.EncodeToString([]byte(s)),
	}
}

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
	// Ignore errors: after a field of another type, the others are decoded.
	_ = json.Unmarshal(body, &wire)
	nested, _ := wire.Message.(map[string]any) // Cloud Eye's
	return firstText(wire.ErrCode, wire.ErrorCode, wire.Error.Code, nested["code"]),
		firstText(wire.ExternalMessage, wire.ErrorMsg, wire.Message, wire.Error.Message, nested["details"]),
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

// cleanMessage returns the first line up to the first mention of the signature, which the echoed request follows.
func cleanMessage(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(strings.ToValidUTF8(s, "?")), "\n")
	lower := strings.Map(asciiLower, s)
	for _, mark := range []string{
		"canonical", "authorization", "x-sdk-date", "x-security-token", "x-auth-token", "signature",
	} {
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
	return strings.TrimRight(clean.Text(s, maxErrorMessage), " ,;:")
}

// asciiLower keeps the length of the text.
func asciiLower(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		return r - 'A' + 'a'
	}
	return r
}

// transportError returns the error of an incomplete exchange. It drops causes that quote the response, which may echo
// the signed request.
func transportError(operation string, status int, err error, stage network.Stage, credentials Credentials) *Error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	fault := network.Explain(err, stage)
	e := &Error{
		Reason: ReasonTransport, Operation: operation, Status: status, broken: !fault.Permanent, hint: fault.Hint,
	}
	var op *net.OpError
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &op), errors.As(err, &dns), errors.As(err, &certificate),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, context.Canceled):
		e.Message, e.Err = cleanMessage(credentials.redact(err.Error())), err
	case network.IsMalformed(err):
		e.Message = "malformed HTTP response"
	default:
		e.Message = cleanMessage(credentials.redact(err.Error()))
	}
	return e
}

func retryAfter(value string, now time.Time) *time.Duration {
	value = strings.TrimSpace(value)
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return new(time.Duration(seconds) * time.Second)
	}
	if at, err := http.ParseTime(value); err == nil {
		return new(max(at.Sub(now), 0))
	}
	return nil
}
