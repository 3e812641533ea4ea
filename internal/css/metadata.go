// SPDX-License-Identifier: Apache-2.0

package css

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	metadataTimeout   = 3 * time.Second
	metadataTokenLife = 6 * time.Hour // the longest that the service allows
	maxMetadata       = 64 << 10
	metadataPause     = 200 * time.Millisecond // before the second try
	metadataBackOff   = 15 * time.Second       // after both failed
)

// errNone is the error of a source without credentials, after which the next one is tried.
type errNone struct{ why string }

func (e errNone) Error() string { return "no credentials: " + e.why }

// NewECSAgency returns a source of the temporary keys that the metadata service at address gives to an ECS with an agency:
// a metadata token (PUT /meta-data/latest/api/token), then GET /openstack/latest/securitykey. Older services know no such
// tokens. No proxy is used.
func NewECSAgency(address string) CredentialSource {
	return newCache(&ecsAgency{newMachine(), address})
}

type ecsAgency struct {
	machine
	address string
}

func (e *ecsAgency) issue(ctx context.Context) (issued, error) { return retryOnce(ctx, e.issueOnce) }

func (e *ecsAgency) issueOnce(ctx context.Context) (keys issued, passing bool, err error) {
	status, token, err := e.ask(ctx, http.MethodPut, e.address+"/meta-data/latest/api/token", "",
		"X-Metadata-Token-Ttl-Seconds", strconv.Itoa(int(metadataTokenLife.Seconds())))
	token = bytes.TrimSpace(token)
	switch {
	case err != nil:
		return issued{}, errors.Is(err, errBroken), e.missing("does not answer: " + err.Error())
	case succeeded(status) && validHeaderValue(string(token)):
	case slices.Contains([]int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusServiceUnavailable}, status):
		token = nil
	default:
		return issued{}, busy(status), e.missing(fmt.Sprintf("gives no token: HTTP %d", status))
	}
	status, body, err := e.ask(ctx, http.MethodGet, e.address+"/openstack/latest/securitykey", "",
		"X-Metadata-Token", string(token))
	switch {
	case err != nil:
		return issued{}, errors.Is(err, errBroken), e.missing("does not answer: " + err.Error())
	case !succeeded(status): // 401: the token may have expired
		return issued{}, busy(status) || status == http.StatusUnauthorized,
			e.missing(fmt.Sprintf("gives no keys: HTTP %d; has this ECS an agency?", status))
	}
	keys, err = parseKeys(body)
	if err != nil {
		return issued{}, false, fmt.Errorf("no credentials: the metadata service at %s gives no keys: %w", e.address, err)
	}
	return keys, false, nil
}

func (e *ecsAgency) missing(what string) error {
	return errNone{"the metadata service at " + e.address + " " + what}
}

// The variables of CCE pod identity.
const (
	podAddress   = "HC_CONTAINER_CREDENTIALS_FULL_URI"
	podTokenFile = "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE" //nolint:gosec // the name of a variable
)

// NewPodIdentity returns a source of the temporary keys that CCE gives to a pod: POST to the address in
// HC_CONTAINER_CREDENTIALS_FULL_URI, authorized by the content of the file that HC_CONTAINER_AUTHORIZATION_TOKEN_FILE
// names, which is read again each time. No proxy is used.
func NewPodIdentity(lookup func(key string) (value string, ok bool)) CredentialSource {
	return newCache(&podIdentity{newMachine(), lookup})
}

type podIdentity struct {
	machine
	lookup func(key string) (string, bool)
}

func (p *podIdentity) issue(ctx context.Context) (issued, error) { return retryOnce(ctx, p.issueOnce) }

func (p *podIdentity) issueOnce(ctx context.Context) (keys issued, passing bool, err error) {
	address, _ := p.lookup(podAddress)
	file, _ := p.lookup(podTokenFile)
	if address == "" || file == "" {
		return issued{}, false, errNone{podAddress + " and " + podTokenFile + " are not set"}
	}
	content, err := readUpTo(file, maxSecretFile)
	token := strings.TrimSpace(string(content))
	switch {
	case err != nil:
		return issued{}, false, fmt.Errorf("no credentials: %s: %w", podTokenFile, err)
	case token == "" || !validHeaderValue(token):
		return issued{}, false, fmt.Errorf("no credentials: the file of %s holds no token", podTokenFile)
	}
	status, body, err := p.ask(ctx, http.MethodPost, address, "{}", "Authorization", token)
	switch {
	case err != nil:
		return issued{}, errors.Is(err, errBroken), fmt.Errorf("no credentials: the address of %s does not answer: %w", podAddress, err)
	case !succeeded(status):
		return issued{}, busy(status), fmt.Errorf("no credentials: the address of %s gives no keys: HTTP %d; is an agency associated with this pod?", podAddress, status)
	}
	keys, err = parseKeys(body)
	if err != nil {
		return issued{}, false, fmt.Errorf("no credentials: the address of %s gives no keys: %w", podAddress, err)
	}
	return keys, false, nil
}

// parseKeys decodes temporary keys in the form of either service, because that of pod identity is not documented.
func parseKeys(body []byte) (issued, error) {
	var ecs, pod issued
	var ecsExpires, podExpires Optional[time.Time]
	_, err := decode(body, object{
		"credential": object{
			"access":        secret(&ecs.AccessKey),
			"secret":        secret(&ecs.SecretKey),
			"securitytoken": secret(&ecs.SecurityToken),
			"expires_at":    optional(&ecsExpires, parseTime),
		}.decode,
		"credentials": object{
			"accessKeyId":     secret(&pod.AccessKey),
			"secretAccessKey": secret(&pod.SecretKey),
			"securityToken":   secret(&pod.SecurityToken),
			"expiration":      optional(&podExpires, parseTime),
		}.decode,
	})
	ecs.expires, pod.expires = ecsExpires.Value, podExpires.Value
	switch {
	case err != nil:
		return issued{}, err
	case ecs.usable():
		return ecs, nil
	case pod.usable():
		return pod, nil
	}
	return issued{}, errors.New("the answer holds no access key and secret key")
}

// retryOnce asks once more a moment later after a failure that may be temporary.
func retryOnce(ctx context.Context, issue func(context.Context) (keys issued, passing bool, err error)) (issued, error) {
	keys, passing, err := issue(ctx)
	if passing && Sleep(ctx, metadataPause) {
		keys, _, err = issue(ctx)
	}
	return keys, err
}

func succeeded(status int) bool { return status == http.StatusOK || status == http.StatusCreated }

// busy reports whether a service may soon answer otherwise.
func busy(status int) bool { return status == http.StatusTooManyRequests || status >= 500 }

// machine sends requests to the services of the machine that the exporter runs on, without a proxy.
type machine struct{ transport *http.Transport }

func newMachine() machine {
	return machine{&http.Transport{
		DialContext:       (&net.Dialer{Timeout: time.Second}).DialContext,
		DisableKeepAlives: true, // once an hour
	}}
}

func (machine) input(context.Context) (string, error) { return "", nil }
func (machine) backOff(error, int) time.Duration      { return metadataBackOff }

// ask sends a request with one header, if its value is not empty. Its error holds neither the address nor the header.
func (m machine) ask(ctx context.Context, method, address, body, header, value string) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, metadataTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return 0, nil, errors.New("invalid URL")
	}
	if value != "" {
		req.Header.Set(header, value)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := m.transport.RoundTrip(req) // which follows no redirects
	if err != nil {
		return 0, nil, safeError(err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxMetadata))
	if err != nil {
		return 0, nil, safeError(err)
	}
	return resp.StatusCode, answer, nil
}

var errBroken = errors.New("the connection broke")

// safeError returns an error that quotes neither the request nor the answer.
func safeError(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	var network *net.OpError
	var dns *net.DNSError
	switch {
	case errors.As(err, &network), errors.As(err, &dns), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errBroken
	}
	return errors.New("malformed HTTP response")
}
