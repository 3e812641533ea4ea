// SPDX-License-Identifier: Apache-2.0

// Package css speaks the API of Huawei Cloud CSS (Cloud Search Service), as far as VPC endpoint connections go: signing,
// credentials, requests with their retries, paging, tolerant parsing, and errors that say why.
//
// It knows nothing of Prometheus, of the configuration file, or of the simulator. It touches the network through the
// http.RoundTripper it is given, and the files that hold secrets.
package css

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxBody is how many bytes of an answer are read: a full page of 1,000 connections has about a quarter of a megabyte.
	maxBody = 16 << 20
	// maxKept is how large a buffer may be to be used again.
	maxKept = 1 << 20
)

// Exchange is one request and its answer, for who counts them.
type Exchange struct {
	Region    string
	Operation string
	Status    int // 0 if there was no answer
	Duration  time.Duration
}

// Code is the HTTP status as text, "error" where there was none.
func (e Exchange) Code() string {
	if e.Status == 0 {
		return "error"
	}
	return strconv.Itoa(e.Status)
}

// Options are what a Client needs to know. Endpoint, Credentials, Guard and Transport are required.
type Options struct {
	Region      string
	ProjectID   string // looked up in IAM by the region's name if empty
	Endpoint    string // of CSS: scheme and host, no path
	IAMEndpoint string // of IAM, likewise; only used to look up the project id
	UserAgent   string
	Credentials CredentialSource
	Guard       *Guard // one for all clients of the process
	Transport   http.RoundTripper
	Retry       Retry          // the zero value is DefaultRetry
	Admit       Admit          // for requests whose caller brings none; may be nil
	Observe     func(Exchange) // called after each exchange, by many goroutines; may be nil
}

// Client reads one project. It may be used by many goroutines together.
type Client struct {
	options Options
	scope   string
	closed  atomic.Bool
	buffers sync.Pool     // of *bytes.Buffer
	lookup  chan struct{} // held by who looks the project's id up, and for what follows

	lookupFailed   error // the last look-up's
	lookupFailedAt time.Time

	mu        sync.Mutex
	projectID string
}

// NewClient makes a client. It does not touch the network.
func NewClient(options Options) *Client {
	if options.Retry == (Retry{}) {
		options.Retry = DefaultRetry()
	}
	if options.Observe == nil {
		options.Observe = func(Exchange) {}
	}
	return &Client{
		options:   options,
		scope:     options.Endpoint + " " + options.ProjectID,
		buffers:   sync.Pool{New: func() any { return new(bytes.Buffer) }},
		lookup:    make(chan struct{}, 1),
		projectID: options.ProjectID,
	}
}

// Format hides the credentials that the client holds from every verb of fmt.
func (c *Client) Format(state fmt.State, _ rune) {
	_, _ = io.WriteString(state, "<client of "+c.options.Endpoint+">")
}

// NewTransport makes a transport that keeps as many connections warm as there may be requests at once. A nil proxy
// means the proxy that the environment names.
func NewTransport(tlsConfig *tls.Config, proxy *url.URL, concurrency int) *http.Transport {
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		TLSClientConfig:        tlsConfig,
		ForceAttemptHTTP2:      true, // else a TLS configuration of one's own turns it off
		MaxIdleConns:           0,
		MaxIdleConnsPerHost:    concurrency,
		IdleConnTimeout:        3 * time.Minute, // outlasts the usual intervals between scrapes
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: 256 << 10,
	}
	if proxy != nil {
		t.Proxy = http.ProxyURL(proxy)
	}
	return t
}

// Close ends the connections that are kept warm, and has those that are in use end when they are no longer. The client
// can be used on, for calls that are still under way, but keeps nothing warm.
func (c *Client) Close() {
	c.closed.Store(true)
	c.closeIdle()
	if source, ok := c.options.Credentials.(*leased); ok {
		source.close()
	}
}

func (c *Client) closeIdle() {
	if t, ok := c.options.Transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// request is what is asked, in terms of the API.
type request struct {
	operation string
	endpoint  string   // if empty it is CSS's, where all paths begin with the version and the project's id
	path      []string // segments, unescaped
	query     url.Values
	admit     Admit
	// into, if not nil, is what the answer's body is read into: the body is good until it is used again.
	into *bytes.Buffer
	// post, if not nil, makes the body of a POST. Such a request is not signed: its body holds the credentials.
	post func(Credentials) []byte
}

func (r *request) method() string {
	if r.post != nil {
		return http.MethodPost
	}
	return http.MethodGet
}

// success says whether an answer of that status holds what was asked for.
func (r *request) success(status int) bool {
	return status == http.StatusOK || (r.post != nil && status == http.StatusCreated)
}

// reply is what came of a request; complete if there is no error beside it.
type reply struct {
	status int // 0 if nothing came
	header http.Header
	body   []byte
}

// background bounds a call for which no scrape waits: each page of the cluster list, a look-up in IAM.
func background(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 30*time.Second)
}

// get makes a request and gives the body of its 200, trying again as Retry allows. Errors are of the type *Error.
func (c *Client) get(ctx context.Context, r request) ([]byte, error) {
	a, err := c.call(ctx, r)
	return a.body, err
}

// call makes a request and gives its answer, trying again as Retry allows. Errors are of the type *Error.
func (c *Client) call(ctx context.Context, r request) (reply, error) {
	var renewal renewal
	for try := 1; ; try++ {
		a, credentials, err := c.try(ctx, r)
		c.told(&renewal, credentials, err)
		if err == nil {
			return a, nil
		}
		if c.renewed(ctx, r.operation, credentials, err, &renewal) {
			continue
		}
		wait, again := c.options.Retry.after(ctx, try, err)
		if !again {
			return reply{}, err
		}
		if !pause(ctx, wait) {
			return reply{}, err // what kept the answer from coming, not that the wait for another try was cut short
		}
	}
}

// pause waits and says whether ctx still goes on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// try makes one request, and gives the credentials that it was made with.
func (c *Client) try(ctx context.Context, r request) (reply, Credentials, error) {
	req, err := c.newRequest(ctx, r)
	if err != nil {
		return reply{}, Credentials{}, err
	}
	credentials, err := c.credentials(ctx, r.operation)
	if err != nil {
		return reply{}, Credentials{}, err
	}
	pass, err := c.options.Guard.enter(ctx, r.operation, c.scope, credentials)
	if err != nil {
		return reply{}, credentials, err
	}
	a, err := c.admitted(ctx, r, req, credentials, pass.heard)
	var refused *Error
	errors.As(err, &refused)
	pass.done(a.status, refused)
	return a, credentials, err
}

// admitted waits for leave to make the request, makes it and reads its answer.
func (c *Client) admitted(ctx context.Context, r request, req *http.Request, credentials Credentials, heard func(status int)) (reply, error) {
	admit := r.admit
	if admit == nil {
		admit = c.options.Admit
	}
	if admit != nil {
		leave, err := admit(ctx)
		if err != nil {
			return reply{}, timeoutError(r.operation, "it was this call's turn", err)
		}
		defer leave()
	}
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
	a, err := c.send(r, req, credentials, heard)
	c.options.Observe(Exchange{
		Region: c.options.Region, Operation: r.operation, Status: a.status, Duration: time.Since(start),
	})
	if err != nil && ctx.Err() != nil && a.status < http.StatusMultipleChoices {
		err = timeoutError(r.operation, "the answer", ctx.Err())
	}
	return a, err
}

// send makes the exchange. The answer's body is of the request's success, and complete, if there is no error.
func (c *Client) send(r request, req *http.Request, credentials Credentials, heard func(status int)) (reply, error) {
	// Without an http.Client, which would follow redirects, or at least read where they lead: a redirect would carry the
	// signature elsewhere.
	resp, err := c.options.Transport.RoundTrip(req)
	if err != nil {
		return reply{}, transportError(r.operation, 0, err, credentials)
	}
	defer resp.Body.Close()
	heard(resp.StatusCode)
	defer func() {
		if c.closed.Load() { // a request makes the transport keep connections again
			c.closeIdle()
		}
	}()

	a := reply{status: resp.StatusCode, header: resp.Header}
	if !r.success(a.status) {
		// What can be had of the error's body is enough; draining a little keeps the connection warm.
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
		return a, statusError(r.operation, resp, body, credentials)
	}
	a.body, err = r.read(resp.Body)
	switch {
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.As(err, new(flate.CorruptInputError)):
		return a, decodeError(r.operation, "the body is not compressed as it says")
	case err != nil:
		return a, transportError(r.operation, a.status, err, credentials)
	case len(a.body) > maxBody:
		return a, decodeError(r.operation, "the body has more than 16 MiB")
	}
	return a, nil
}

// read reads a body, and one byte more than it may have.
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
				Reason: ReasonInvalid, Operation: r.operation, retryAfter: -1,
				Message: strconv.Quote(Clean(segment, 80)) + " cannot be part of an address",
			}
		}
		path.WriteString("/" + segment)
		escaped.WriteString("/" + escape(segment))
	}
	req, err := http.NewRequestWithContext(ctx, r.method(), endpoint, nil)
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

// Retry says how a request is tried again: after 429, 502, 503, 504 and broken connections, and never after an answer
// that would only be given again.
type Retry struct {
	Tries int           // at most, the first one included
	Base  time.Duration // the wait before the second try, doubled for each further one; jittered to between half and all of it
	Limit time.Duration // of one wait, where the server does not ask for more
}

// DefaultRetry is quick enough for a scrape's deadline and slow enough to let a gateway recover.
func DefaultRetry() Retry {
	return Retry{Tries: 4, Base: 200 * time.Millisecond, Limit: 2 * time.Second}
}

// after says how long to wait after the given try failed, and whether another one is worth it before ctx's deadline.
func (p Retry) after(ctx context.Context, try int, err error) (time.Duration, bool) {
	var e *Error
	if !errors.As(err, &e) || try >= p.Tries || ctx.Err() != nil {
		return 0, false
	}
	switch e.Status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
	default:
		if !e.broken {
			return 0, false
		}
	}
	wait := min(p.Base<<(try-1), p.Limit)
	wait = wait/2 + rand.N(wait/2+1) //nolint:gosec // jitter needs no secret randomness
	if e.retryAfter >= 0 {
		wait = max(wait, e.retryAfter)
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
		return 0, false
	}
	return wait, true
}

// Resting fails with ReasonAuth if the credentials rest after a refusal, or cannot be had, so that no request would be
// made now. It may get credentials, but waits for no trial.
func (c *Client) Resting(ctx context.Context) error {
	var before Credentials
	for {
		credentials, err := c.credentials(ctx, opConnections)
		if err != nil {
			return err
		}
		err = c.options.Guard.resting(opConnections, c.scope, credentials)
		if err == nil || credentials == before {
			return err
		}
		before = credentials // others may have taken their place by now
	}
}

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
		return Credentials{}, timeoutError(operation, "the credentials were there", ctx.Err())
	}
	return Credentials{}, &Error{
		Reason: ReasonAuth, Operation: operation, Message: err.Error(), Err: err, retryAfter: -1,
		hint: "name credentials in the configuration file, or see that the variables or files that hold them are there",
	}
}

// renewal is what one call has done about credentials that were refused.
type renewal struct {
	refused Credentials
	done    bool // it tried others
	tell    func(helped, back bool)
}

// Format hides the content from every verb of fmt.
func (*renewal) Format(state fmt.State, verb rune) { Credentials{}.Format(state, verb) }

// told tells what the others are worth, as soon as that is known. If nobody was accepted with them yet, and the refused
// ones do not rest, the refusal may be about this call's cluster alone.
func (c *Client) told(r *renewal, others Credentials, err error) {
	var e *Error
	refused := errors.As(err, &e) && e.Status == http.StatusUnauthorized
	if r.tell == nil || (err != nil && !refused) {
		return
	}
	guard := c.options.Guard
	r.tell(!refused, !guard.accepted(others) && guard.resting(opConnections, c.scope, r.refused) == nil)
	r.tell = nil
}

// renewed says whether a call whose credentials were refused, or rest, is to be made again: once, with others, if there are
// any by now. Those that end by themselves are got anew if the API says that they have ended, or if it accepted them before.
func (c *Client) renewed(ctx context.Context, operation string, refused Credentials, err error, r *renewal) bool {
	var e *Error
	if r.done || !errors.As(err, &e) || e.Reason != ReasonAuth || !refused.usable() {
		return false
	}
	if e.Status == http.StatusUnauthorized {
		r.refused, r.tell = refused, c.refuse(refused, e)
	}
	now, err := c.credentials(ctx, operation)
	r.done = err == nil && now != refused
	return r.done
}

// refuse has the source look for others.
func (c *Client) refuse(refused Credentials, why *Error) (tell func(helped, back bool)) {
	if source, ok := c.options.Credentials.(rereader); ok {
		source.reread()
	}
	source, ok := c.options.Credentials.(refuser)
	proven := c.options.Guard.accepted(refused)
	if !ok || (!proven && !why.tokenExpired()) {
		return nil
	}
	return source.refuse(refused, proven && c.options.Guard.resting(why.Operation, c.scope, refused) != nil)
}
