// SPDX-License-Identifier: Apache-2.0

// Package cloud is a signed HTTP client for the cloud's APIs, with retries, protection of keys and back-off from
// throttling. It touches only the network, through an http.RoundTripper.
package cloud

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"css_vpcep_exporter/internal/network"

	"golang.org/x/time/rate"
)

// Exchange describes one HTTP request and its response.
type Exchange struct {
	Region    string
	Operation string
	Status    int // 0 without a response
	ErrorCode string
	RequestID string
	Duration  time.Duration
}

// Code returns the HTTP status, or "error" without one.
func (e Exchange) Code() string {
	if e.Status == 0 {
		return "error"
	}
	return strconv.Itoa(e.Status)
}

// Options configure a Client. Credentials, Keys and Transport are required.
type Options struct {
	Region      string // of Exchange
	Scope       string // the project, in which alone a key may be rejected
	UserAgent   string
	Credentials CredentialSource
	Keys        *Keys // one for all clients
	Transport   http.RoundTripper
	Budget      *rate.Limiter  // of all requests; nil means no limit
	Retry       Retry          // the zero value is DefaultRetry
	Observe     func(Exchange) // called concurrently after each exchange; may be nil
}

// Client sends the requests of one project. It is safe for concurrent use.
type Client struct {
	options  Options
	throttle *throttle
	closed   atomic.Bool

	mu         sync.Mutex
	failures   int // in a row
	answeredAt time.Time
	closedAt   time.Time
}

// NewClient returns a Client.
func NewClient(options Options) *Client {
	if options.Retry == (Retry{}) {
		options.Retry = DefaultRetry()
	}
	if options.Observe == nil {
		options.Observe = func(Exchange) {}
	}
	return &Client{options: options, throttle: newThrottle()}
}

// Close closes connections as soon as they are idle. Calls in flight complete.
func (c *Client) Close() {
	c.closed.Store(true)
	c.closeIdle()
}

// Inherit takes over what an older client of the same project knows about throttling. Call it before the first request.
func (c *Client) Inherit(older *Client) { c.throttle = older.throttle }

// Background bounds a call that no scrape waits for.
func Background(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 30*time.Second)
}

// Call sends a request and returns the response. It retries as Retry allows, and once with new credentials. Errors are
// of the type *Error.
func (c *Client) Call(ctx context.Context, r Request) (Response, error) {
	replaced := false
	for try := 1; ; try++ {
		response, credentials, err := c.try(ctx, &r)
		if err == nil {
			return response, nil
		}
		r.Reserved = false
		if !replaced && !r.Spare && ReasonOf(err) == ReasonAuth && c.replace(ctx, r.Operation, credentials) {
			replaced = true
			continue
		}
		wait, again := c.options.Retry.after(ctx, try, err)
		if !again || !Sleep(ctx, wait) {
			return Response{}, c.addHint(err, &r)
		}
	}
}

// Reserve waits for the request budget of the first try of r. It fails at once, with an *Error, during a pause or a
// back-off.
func (c *Client) Reserve(ctx context.Context, r Request) error {
	credentials, err := c.check(ctx, &r)
	if err != nil && (r.Spare || ReasonOf(err) != ReasonAuth || !c.replace(ctx, r.Operation, credentials)) {
		return c.addHint(err, &r)
	}
	return c.addHint(c.waitForBudget(ctx, &r), &r)
}

// addHint adds the service's hint to an error of r, but not to that of a login for it.
func (c *Client) addHint(err error, r *Request) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Operation != r.Operation || e.hint != "" {
		return err
	}
	if source, ok := c.options.Credentials.(Outdated); ok && e.Reason == ReasonAuth {
		if problem := source.Problem(); problem != nil {
			return e.WithHint("the last valid credentials are used, because the new ones cannot be: " + problem.Error())
		}
	}
	return e.WithHint(r.Service.Hint(e))
}

func (c *Client) replace(ctx context.Context, operation string, rejected Credentials) bool {
	if !rejected.Usable() || !c.options.Credentials.Invalidate(rejected, c.options.Keys.lost(rejected)) {
		return false
	}
	now, err := c.credentials(ctx, operation)
	return err != nil || now != rejected
}

// check returns the credentials, unless there is a pause or a back-off.
func (c *Client) check(ctx context.Context, r *Request) (Credentials, error) {
	if err := c.throttle.check(r); err != nil {
		return Credentials{}, err
	}
	if r.Spare { // others wait for the same renewal
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 2*tryPatience)
		defer cancel()
	}
	credentials, err := c.credentials(ctx, r.Operation)
	if err != nil {
		return Credentials{}, err
	}
	return credentials, c.options.Keys.paused(r.Operation, c.options.Scope, credentials)
}

func (c *Client) credentials(ctx context.Context, operation string) (Credentials, error) {
	credentials, err := c.options.Credentials.Credentials(ctx)
	var known *Error
	switch {
	case err == nil && credentials.Usable():
		return credentials, nil
	case err == nil:
		err = errors.New("no credentials: an access key, a secret key or a token is empty")
	case errors.As(err, &known): // from a login
		return Credentials{}, err
	case ctx.Err() != nil:
		return Credentials{}, NewTimeoutError(operation, "the credentials", ctx.Err())
	}
	return Credentials{}, &Error{
		Reason: ReasonAuth, Operation: operation, Message: err.Error(), Err: err,
		hint: "set credentials in the configuration file, or check the variables or files that hold them",
	}
}

func (c *Client) waitForBudget(ctx context.Context, r *Request) error {
	if c.options.Budget == nil {
		return nil
	}
	wait := c.options.Budget.Wait
	if r.Spare {
		wait = c.waitForSpareBudget
	}
	if err := wait(ctx); err != nil {
		return NewTimeoutError(r.Operation, "the request budget (requests_per_second)", err)
	}
	return nil
}

// waitForSpareBudget waits until the budget has been full for so long that it has lost a request, or until it has
// allowed a hundred others. Nothing is taken: the next scrape finds as much as before.
func (c *Client) waitForSpareBudget(ctx context.Context) error {
	budget := c.options.Budget
	interval := float64(time.Second) / float64(budget.Limit())
	patience := time.Now().Add(time.Duration(100 * interval))
	for full := false; time.Now().Before(patience); {
		missing := float64(budget.Burst()) - budget.Tokens()
		if missing <= 0 && full {
			return nil
		}
		if full = missing <= 0; full {
			missing = 1
		}
		if !Sleep(ctx, max(time.Duration(missing*interval), time.Millisecond)) {
			return ctx.Err()
		}
	}
	return nil
}

func (c *Client) try(ctx context.Context, r *Request) (Response, Credentials, error) {
	req, err := c.newHTTPRequest(ctx, r)
	if err != nil {
		return Response{}, Credentials{}, err
	}
	credentials, err := c.check(ctx, r)
	if err != nil {
		return Response{}, credentials, err
	}
	// The budget comes before the permit: a single try that waited for it would look like one that hangs.
	if !r.Reserved {
		if err := c.waitForBudget(ctx, r); err != nil {
			return Response{}, credentials, err
		}
	}
	permit, err := c.options.Keys.acquire(ctx, r, c.options.Scope, credentials)
	for errors.Is(err, errUntrusted) && Sleep(ctx, trustFor/2) {
		if credentials, err = c.check(ctx, r); err == nil { // they may have changed
			permit, err = c.options.Keys.acquire(ctx, r, c.options.Scope, credentials)
		}
	}
	if errors.Is(err, errUntrusted) {
		err = NewTimeoutError(r.Operation, "another request to verify the credentials", ctx.Err())
	}
	if err != nil {
		return Response{}, credentials, err
	}
	err = c.throttle.check(r) // the waits may have been long
	if deadline, ok := ctx.Deadline(); err == nil && ok && !time.Now().Before(deadline) {
		err = NewTimeoutError(r.Operation, "other requests", context.DeadlineExceeded)
	}
	if err != nil {
		permit.release(notSent, nil)
		return Response{}, credentials, err
	}
	connected := func() {}
	if r.Login == nil { // checking a password may take longer than tryPatience
		connected = permit.markSent
	}
	if r.Spare {
		var cancel context.CancelFunc
		ctx, cancel = Background(ctx)
		defer cancel()
		req = req.WithContext(ctx)
	}
	req, progress := traceProgress(req, connected)
	response, failed := c.exchange(ctx, r, req, progress, credentials)
	permit.release(response.Status, failed)
	if failed != nil {
		return response, credentials, failed
	}
	return response, credentials, nil
}

func (c *Client) exchange(
	ctx context.Context, r *Request, req *http.Request, p *progress, credentials Credentials,
) (Response, *Error) {
	authenticate(r, req, credentials)
	start := time.Now()
	response, err := c.send(r, req, p, credentials)
	timedOut := err != nil && ctx.Err() != nil && response.Status < http.StatusMultipleChoices
	c.watchConnections(start, response.Status, timedOut)
	if c.closed.Load() {
		c.closeIdle()
	}
	observed := Exchange{
		Region: c.options.Region, Operation: r.Operation, Status: response.Status, Duration: time.Since(start),
		RequestID: identifier(credentials.redact(response.Header.Get("X-Request-Id"))),
	}
	if err != nil {
		observed.ErrorCode, observed.RequestID = err.Code, cmp.Or(err.RequestID, observed.RequestID)
	}
	c.options.Observe(observed)
	switch {
	case timedOut:
		what, hint := network.ExplainTimeout(p.stage())
		err = NewTimeoutError(r.Operation, what, ctx.Err()).WithHint(hint)
	case response.Status == http.StatusTooManyRequests:
		var wait time.Duration
		wait, err.suspicious = c.throttle.recordThrottled(r, start, err)
		err.retryAfter = &wait
	default:
		if accepted, _ := verdict(response.Status, err); accepted {
			c.throttle.recordSuccess(r)
		}
	}
	if err != nil {
		err.Sent = true
	}
	return response, err
}
