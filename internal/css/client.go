// SPDX-License-Identifier: Apache-2.0

// Package css is a client of the API of Huawei Cloud CSS (Cloud Search Service), as far as VPC endpoint connections go:
// signing, credentials, retries, paging, tolerant parsing, and errors that say why.
//
// It knows nothing of Prometheus, of the configuration file, or of the simulator. It touches the network through the
// http.RoundTripper it is given, and the files that hold secrets.
package css

import (
	"bytes"
	"cmp"
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

const (
	maxBody = 16 << 20 // of an answer; a page of 1,000 connections has about a quarter of a megabyte
	maxKept = 1 << 20  // of a buffer that is used again
)

// Exchange describes one request and its answer.
type Exchange struct {
	Region    string
	Operation string
	Status    int    // 0 if there was no answer
	ErrorCode string // the API's, such as "CSS.0015"; may be empty
	RequestID string // may be empty
	Duration  time.Duration
}

// Code returns the HTTP status as text, "error" if there was no answer.
func (e Exchange) Code() string {
	if e.Status == 0 {
		return "error"
	}
	return strconv.Itoa(e.Status)
}

// Options configure a Client. Endpoint, Credentials, Keys and Transport are required.
type Options struct {
	Region      string
	ProjectID   string // looked up in IAM by the region's name if empty
	Endpoint    string // of CSS: scheme and host, no path
	IAMEndpoint string // of IAM, likewise; used to look up the project ID and to log in
	UserAgent   string
	Credentials CredentialSource
	Keys        *Keys // one for all clients of the process
	Transport   http.RoundTripper
	Budget      *rate.Limiter  // of all requests of the project; nil means no limit
	Retry       Retry          // the zero value is DefaultRetry
	Observe     func(Exchange) // called after each exchange, by many goroutines; may be nil
}

// Client reads one project. It is safe for concurrent use.
type Client struct {
	options  Options
	scope    string
	throttle *throttle
	closed   atomic.Bool
	buffers  sync.Pool     // of *bytes.Buffer
	lookup   chan struct{} // held while the project ID is looked up, and guards what follows

	lookupFailed   error // the last look-up's
	lookupFailedAt time.Time

	mu         sync.Mutex
	projectID  string
	failures   int // in a row; see watchConnections
	answeredAt time.Time
	closedAt   time.Time
}

// NewClient returns a Client. It does not touch the network.
func NewClient(options Options) *Client {
	if options.Retry == (Retry{}) {
		options.Retry = DefaultRetry()
	}
	if options.Observe == nil {
		options.Observe = func(Exchange) {}
	}
	return &Client{
		options:   options,
		scope:     strings.Join([]string{options.Endpoint, options.Region, options.ProjectID}, " "),
		throttle:  newThrottle(),
		buffers:   sync.Pool{New: func() any { return new(bytes.Buffer) }},
		lookup:    make(chan struct{}, 1),
		projectID: options.ProjectID,
	}
}

// Close closes idle connections now and the others as soon as they become idle. Calls in flight complete.
func (c *Client) Close() {
	c.closed.Store(true)
	c.closeIdle()
}

// request is what is asked, in terms of the API.
type request struct {
	operation string
	target    string   // what the gateway may throttle, such as a cluster's ID; empty if the operation has but one
	endpoint  string   // if empty it is CSS's, where all paths begin with the version and the project ID
	path      []string // segments, unescaped
	query     url.Values
	// reserved means that the caller has acquired the budget of the first try.
	reserved bool
	// into, if not nil, is what the answer's body is read into: the body is valid until it is used again.
	into *bytes.Buffer
	// post, if not nil, makes the body of a POST. Such a request is not signed: its body holds the credentials.
	post func(Credentials) []byte
}

// reply is the answer to a request.
type reply struct {
	status int // 0 if nothing came
	header http.Header
	body   []byte // complete if there is no error
}

// background bounds a call for which no scrape waits: each page of the cluster list, a look-up in IAM.
func background(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 30*time.Second)
}

// call sends a request and returns its answer, retrying as Retry allows, and once with other credentials if those that
// were rejected can be replaced. Errors are of the type *Error.
func (c *Client) call(ctx context.Context, r request) (reply, error) {
	replaced := false
	for try := 1; ; try++ {
		a, credentials, err := c.try(ctx, r)
		if err == nil {
			return a, nil
		}
		r.reserved = false
		if !replaced && ReasonOf(err) == ReasonAuth && c.replace(ctx, r.operation, credentials) {
			replaced = true
			continue
		}
		wait, again := c.options.Retry.after(ctx, try, err)
		if !again || !Sleep(ctx, wait) {
			return reply{}, err // what went wrong, not that the wait was cut short
		}
	}
}

// replace reports whether a request should be sent again because the credentials that were rejected can be replaced.
func (c *Client) replace(ctx context.Context, operation string, rejected Credentials) bool {
	if !rejected.usable() || !c.options.Credentials.Invalidate(rejected, c.options.Keys.lost(rejected)) {
		return false
	}
	now, err := c.credentials(ctx, operation)
	return err != nil || now != rejected
}

// check returns the credentials for a request, or why it would not be sent now.
func (c *Client) check(ctx context.Context, r request) (Credentials, error) {
	if err := c.throttle.check(r); err != nil {
		return Credentials{}, err
	}
	credentials, err := c.credentials(ctx, r.operation)
	if err != nil {
		return Credentials{}, err
	}
	return credentials, c.options.Keys.paused(r.operation, c.scope, credentials)
}

// waitForBudget blocks until the request budget of the project allows one more request.
func (c *Client) waitForBudget(ctx context.Context, operation string) error {
	if c.options.Budget == nil {
		return nil
	}
	if err := c.options.Budget.Wait(ctx); err != nil {
		return timeoutError(operation, "the request budget (requests_per_second)", err)
	}
	return nil
}

// try sends one request, as soon as the budget, the throttling and the protection of keys allow, and returns the
// credentials that it was sent with.
func (c *Client) try(ctx context.Context, r request) (reply, Credentials, error) {
	req, err := c.newRequest(ctx, r)
	if err != nil {
		return reply{}, Credentials{}, err
	}
	credentials, err := c.check(ctx, r)
	if err != nil {
		return reply{}, credentials, err
	}
	// The budget comes before the permit: a single try that waited for it would look like one that hangs.
	if !r.reserved {
		if err := c.waitForBudget(ctx, r.operation); err != nil {
			return reply{}, credentials, err
		}
	}
	permit, err := c.options.Keys.acquire(ctx, r.operation, c.scope, credentials)
	if err != nil {
		return reply{}, credentials, err
	}
	err = c.throttle.check(r) // again: the waits may have been long
	if deadline, ok := ctx.Deadline(); err == nil && ok && !time.Now().Before(deadline) {
		err = timeoutError(r.operation, "other requests", context.DeadlineExceeded)
	}
	if err != nil {
		permit.release(notSent, nil)
		return reply{}, credentials, err
	}
	if r.operation != opToken { // the check of a password may take longer than tryPatience
		trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { permit.markSent() }}
		req = req.WithContext(httptrace.WithClientTrace(ctx, trace))
	}
	a, failed := c.exchange(ctx, r, req, credentials)
	permit.release(a.status, failed)
	if failed == nil {
		return a, credentials, nil
	}
	return a, credentials, failed
}

// exchange signs and sends a request, reads its answer, and records the outcome. The error is nil after a success.
func (c *Client) exchange(ctx context.Context, r request, req *http.Request, credentials Credentials) (reply, *Error) {
	switch {
	case r.post != nil:
		body := r.post(credentials)
		req.ContentLength = int64(len(body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		req.Body, _ = req.GetBody()
	case credentials.AuthToken != "":
		req.Header.Set(headerAuthToken, credentials.AuthToken)
	default:
		if credentials.SecurityToken != "" {
			req.Header.Set(headerSecurityToken, credentials.SecurityToken)
		}
		sign(req, nil, credentials.AccessKey, credentials.SecretKey, time.Now(), headerProjectID, headerSecurityToken)
	}
	start := time.Now()
	a, err := c.send(r, req, credentials)
	timedOut := err != nil && ctx.Err() != nil && a.status < http.StatusMultipleChoices
	c.watchConnections(start, a.status, timedOut)
	if c.closed.Load() {
		c.closeIdle() // the request made the transport keep its connection
	}
	observed := Exchange{
		Region: c.options.Region, Operation: r.operation, Status: a.status, Duration: time.Since(start),
		RequestID: identifier(credentials.redact(a.header.Get("X-Request-Id"))),
	}
	if err != nil {
		observed.ErrorCode, observed.RequestID = err.Code, cmp.Or(err.RequestID, observed.RequestID)
	}
	c.options.Observe(observed)
	switch {
	case timedOut:
		err = timeoutError(r.operation, "the answer", ctx.Err())
	case a.status == http.StatusTooManyRequests:
		var wait time.Duration
		wait, err.suspicious = c.throttle.recordThrottled(r, start, err.retryAfter)
		err.retryAfter = some(wait)
	default:
		if accepted, _ := verdict(a.status, err); accepted {
			c.throttle.recordSuccess(r)
		}
	}
	if err != nil {
		err.sent = true
	}
	return a, err
}

// send sends a request and reads its answer. The body is complete if there is no error.
func (c *Client) send(r request, req *http.Request, credentials Credentials) (reply, *Error) {
	// Not an http.Client, which follows redirects, or at least reads where they lead: a redirect would carry the signature
	// elsewhere.
	resp, err := c.options.Transport.RoundTrip(req)
	if err != nil {
		return reply{}, transportError(r.operation, 0, err, credentials)
	}
	defer resp.Body.Close()

	a := reply{status: resp.StatusCode, header: resp.Header}
	if a.status != http.StatusOK && (r.post == nil || a.status != http.StatusCreated) {
		// What can be had of the error's body is enough; draining a little keeps the connection warm.
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
		return a, statusError(r.operation, resp, body, credentials)
	}
	a.body, err = r.read(resp.Body)
	switch {
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.As(err, new(flate.CorruptInputError)):
		return a, decodeError(r.operation, "the body is not compressed as its header says")
	case err != nil:
		return a, transportError(r.operation, a.status, err, credentials)
	case len(a.body) > maxBody:
		return a, decodeError(r.operation, "the body is larger than 16 MiB")
	}
	return a, nil
}

// read reads a body, up to one byte more than it may have.
func (r *request) read(body io.Reader) ([]byte, error) {
	to := r.into
	if to == nil {
		to = new(bytes.Buffer)
	}
	to.Reset()
	_, err := to.ReadFrom(io.LimitReader(body, maxBody+1))
	return to.Bytes(), err
}

// newRequest builds the request, unsigned.
func (c *Client) newRequest(ctx context.Context, r request) (*http.Request, error) {
	endpoint, segments := r.endpoint, r.path
	if endpoint == "" {
		projectID, err := c.ProjectID(ctx)
		if err != nil {
			return nil, err
		}
		endpoint, segments = c.options.Endpoint, append([]string{"v1.0", projectID}, r.path...)
	}
	var path, escaped strings.Builder
	for _, segment := range segments {
		if segment == "" || segment == "." || segment == ".." || strings.Contains(segment, "/") {
			return nil, &Error{
				Reason: ReasonInvalid, Operation: r.operation,
				Message: strconv.Quote(Clean(segment, 80)) + " cannot be part of a URL",
			}
		}
		path.WriteString("/" + segment)
		escaped.WriteString("/" + escape(segment))
	}
	method := http.MethodGet
	if r.post != nil {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, endpoint, nil)
	if err != nil {
		return nil, transportError(r.operation, 0, err, Credentials{})
	}
	req.URL.Path, req.URL.RawPath, req.URL.RawQuery = path.String(), escaped.String(), canonicalQuery(r.query)
	req.Header.Set("User-Agent", c.options.UserAgent)
	req.Header.Set("Accept", "application/json")
	if r.post != nil {
		req.Header.Set("Content-Type", "application/json")
		return req, nil
	}
	if id := c.KnownProjectID(); id != "" {
		req.Header.Set(headerProjectID, id)
	}
	return req, nil
}

// credentials returns what a request is sent with now. Errors are of the type *Error.
func (c *Client) credentials(ctx context.Context, operation string) (Credentials, error) {
	credentials, err := c.options.Credentials.Credentials(ctx)
	var known *Error
	switch {
	case err == nil && credentials.usable():
		return credentials, nil
	case err == nil:
		err = errors.New("no credentials: an access key, a secret key or a token is empty")
	case errors.As(err, &known): // of the call that was to get them
		return Credentials{}, err
	case ctx.Err() != nil:
		return Credentials{}, timeoutError(operation, "the credentials", ctx.Err())
	}
	return Credentials{}, &Error{
		Reason: ReasonAuth, Operation: operation, Message: err.Error(), Err: err,
		hint: "set credentials in the configuration file, or check the variables or files that hold them",
	}
}
