// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Reason is why a call failed. It is the value of a label.
type Reason string

// The reasons.
const (
	ReasonAuth      Reason = "auth"      // rejected, paused or missing credentials
	ReasonDenied    Reason = "denied"    // a missing permission
	ReasonNotFound  Reason = "not_found" // 404
	ReasonInvalid   Reason = "invalid"   // any other status
	ReasonThrottled Reason = "throttled" // 429
	ReasonTimeout   Reason = "timeout"
	ReasonServer    Reason = "server"    // 5xx
	ReasonTransport Reason = "transport" // DNS, TLS, or a broken connection
	ReasonDecode    Reason = "decode"    // an invalid body
)

// Reasons returns every reason.
func Reasons() []Reason {
	return []Reason{
		ReasonAuth, ReasonDenied, ReasonNotFound, ReasonInvalid, ReasonThrottled,
		ReasonTimeout, ReasonServer, ReasonTransport, ReasonDecode,
	}
}

// codeTokenExpired follows "APIGW." or "APIG.".
const codeTokenExpired = "0307"

// Error is a failed call. It holds no whole response: the gateway echoes the signed request with its security token.
type Error struct {
	Reason    Reason
	Operation string
	Status    int    // 0 without a response
	Code      string // such as "CSS.0015"; may be empty
	RequestID string // may be empty
	Message   string
	Sent      bool  // whether a request was sent
	Err       error // the cause, unless it is a response

	hint       string
	retryAfter *time.Duration
	broken     bool // the connection broke: a retry may succeed
	suspicious bool // the project's next request should be a single try
}

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

// WithHint sets the hint.
func (e *Error) WithHint(hint string) *Error {
	e.hint = hint
	return e
}

func (e *Error) tokenExpired() bool {
	prefix, number, _ := strings.Cut(e.Code, ".")
	return e.Reason == ReasonAuth && (prefix == "APIGW" || prefix == "APIG") && number == codeTokenExpired
}

// Hint returns what to do about the failure: one sentence without a full stop.
func (e *Error) Hint() string {
	switch {
	case e.hint != "":
		return e.hint
	case e.tokenExpired():
		return "the token has expired: check whatever renews it"
	case e.Reason == ReasonAuth:
		return "check the access key, the secret key, the security token and the clock of this machine; " +
			"rejected credentials are paused, so that the cloud does not lock them"
	case e.Reason == ReasonThrottled:
		return "lower requests_per_second, scrape less often, or set scrape.min_interval"
	case e.Reason == ReasonTimeout:
		return "raise scrape_timeout in Prometheus, or check for a slow network or proxy"
	case e.Reason == ReasonDecode:
		return "the response is not from the API: check the endpoint and the proxy"
	case e.Reason == ReasonServer && e.Code == codeTryLater:
		return "the API asks to try again later, which the exporter does"
	case e.Reason == ReasonServer:
		return "the cloud's API is failing; the exporter keeps trying"
	}
	return "look up the code in the cloud's documentation, or give the request ID to its support"
}

// LogFields returns the log fields code, request_id and hint, as far as err has them, and err.
func LogFields(err error) []any {
	var fields []any
	if e, ok := errors.AsType[*Error](err); ok {
		if e.Code != "" {
			fields = append(fields, "code", e.Code)
		}
		if e.RequestID != "" {
			fields = append(fields, "request_id", e.RequestID)
		}
		hint := e.Hint()
		switch e.Reason {
		case ReasonAuth, ReasonDenied, ReasonTransport: // usually the set-up
			hint += "; --diagnose walks through the checks"
		}
		fields = append(fields, "hint", hint)
	}
	return append(fields, "err", err)
}

// ReasonOf returns the reason of any error: that of an *Error, timeout if a context ended, or transport.
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

// CodeOf returns the error code of the API, such as "CSS.0015", or "".
func CodeOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

// NewTimeoutError returns the error of a deadline that passed while waiting.
func NewTimeoutError(operation, waitedFor string, cause error) *Error {
	return &Error{Reason: ReasonTimeout, Operation: operation, Message: "timed out waiting for " + waitedFor, Err: cause}
}

// NewDecodeError returns the error of an invalid body.
func NewDecodeError(operation, message string) *Error {
	return &Error{Reason: ReasonDecode, Operation: operation, Message: message, Sent: true}
}

// CallerGaveUp reports whether a call failed only for lack of time.
func CallerGaveUp(ctx context.Context, err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ctx.Err() != nil || ok && e.Reason == ReasonTimeout && !e.Sent
}
