// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"css_vpcep_exporter/internal/clean"
	"css_vpcep_exporter/internal/network"
)

const maxBody = 16 << 20 // a page of 1,000 connections has 0.25 MB

// Request is a call of an API.
type Request struct {
	Service   Service
	Operation string   // a label value, such as "connections"
	Target    string   // what the gateway may throttle alone, such as a cluster's ID
	Endpoint  string   // scheme and host
	ProjectID string   // may be empty
	Path      []string // unescaped
	Query     url.Values
	Header    http.Header // others than those of every request; not signed
	// Reserved skips the wait for the budget at the first try, after Reserve.
	Reserved bool
	// Spare delays no other request: it uses only budget that no other needs, is not a single try, and does not replace
	// credentials. Its waits last until the context ends; the exchange is bounded like one of Background.
	Spare bool
	// Buffer, if not nil, holds the body of the response.
	Buffer *bytes.Buffer
	// Body, if not nil, makes the request a POST.
	Body []byte
	// Login, if not nil, returns the body of a POST, which holds the credentials instead of a signature.
	Login func(Credentials) []byte
}

// Response is the answer to a request.
type Response struct {
	Status int // 0 without a response
	Header http.Header
	Body   []byte
}

func (c *Client) newHTTPRequest(ctx context.Context, r *Request) (*http.Request, error) {
	var path, escaped strings.Builder
	for _, segment := range r.Path {
		if segment == "" || segment == "." || segment == ".." || strings.Contains(segment, "/") {
			return nil, &Error{
				Reason: ReasonInvalid, Operation: r.Operation,
				Message: clean.Quote(segment) + " cannot be part of a URL",
			}
		}
		path.WriteString("/" + segment)
		escaped.WriteString("/" + escape(segment))
	}
	method := http.MethodGet
	if r.isPost() {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, r.Endpoint, nil)
	if err != nil {
		return nil, transportError(r.Operation, 0, err, network.Connected, Credentials{})
	}
	req.URL.Path, req.URL.RawPath, req.URL.RawQuery = path.String(), escaped.String(), canonicalQuery(r.Query)
	req.Header.Set("User-Agent", c.options.UserAgent)
	req.Header.Set("Accept", "application/json")
	maps.Copy(req.Header, r.Header)
	if r.isPost() {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.ProjectID != "" {
		req.Header.Set(headerProjectID, r.ProjectID)
	}
	return req, nil
}

func (r *Request) isPost() bool { return r.Login != nil || r.Body != nil }

func authenticate(r *Request, req *http.Request, c Credentials) {
	body := r.Body
	if r.Login != nil {
		body = r.Login(c)
	}
	if body != nil {
		req.ContentLength = int64(len(body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		req.Body, _ = req.GetBody()
	}
	switch {
	case r.Login != nil:
	case c.AuthToken != "":
		req.Header.Set(headerAuthToken, c.AuthToken)
	default:
		if c.SecurityToken != "" {
			req.Header.Set(headerSecurityToken, c.SecurityToken)
		}
		sign(req, body, c.AccessKey, c.SecretKey, time.Now(), headerProjectID, headerSecurityToken)
	}
}

func (c *Client) send(r *Request, req *http.Request, p *progress, credentials Credentials) (Response, *Error) {
	// Not an http.Client, which follows redirects: a redirect would carry the signature elsewhere.
	resp, err := c.options.Transport.RoundTrip(req)
	if err != nil {
		return Response{}, transportError(r.Operation, 0, err, p.stage(), credentials)
	}
	defer resp.Body.Close()

	received := Response{Status: resp.StatusCode, Header: resp.Header}
	if received.Status != http.StatusOK && (!r.isPost() || received.Status != http.StatusCreated) {
		// Reading the body keeps the connection; an incomplete one is good enough.
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
		return received, statusError(r, resp, body, credentials)
	}
	received.Body, err = readBody(resp.Body, r.Buffer)
	switch {
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.As(err, new(flate.CorruptInputError)):
		return received, NewDecodeError(r.Operation, "the body is not compressed as its header says")
	case err != nil:
		return received, transportError(r.Operation, received.Status, err, network.Connected, credentials)
	case len(received.Body) > maxBody:
		return received, NewDecodeError(r.Operation, "the body is larger than 16 MiB")
	}
	return received, nil
}

func readBody(body io.Reader, to *bytes.Buffer) ([]byte, error) {
	if to == nil {
		to = new(bytes.Buffer)
	}
	to.Reset()
	_, err := to.ReadFrom(io.LimitReader(body, maxBody+1))
	return to.Bytes(), err
}
