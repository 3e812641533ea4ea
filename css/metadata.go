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

// MetadataAddress is where an ECS finds its metadata service.
const MetadataAddress = "http://169.254.169.254"

const (
	metadataTimeout   = 3 * time.Second
	metadataTokenLife = 6 * time.Hour // at most, says the service
	maxMetadata       = 64 << 10
	// metadataRest is how long a machine's services are not asked again after they could give no credentials.
	metadataRest = 15 * time.Second
	// metadataPause is the wait before a machine's service is asked a second time, if that may help.
	metadataPause = 200 * time.Millisecond
)

// absent says that a source has nothing here, so that another one may have.
type absent struct{ why string }

func (a absent) Error() string { return "no credentials: " + a.why }

// NewECSAgency makes a source of the temporary keys that the metadata service at address gives to an ECS with an agency:
// a metadata token (PUT /meta-data/latest/api/token), then GET /openstack/latest/securitykey. Machines whose service knows
// no such tokens are asked without. No proxy is ever asked.
func NewECSAgency(address string) CredentialSource {
	return newLeased(&ecsAgency{address: address, machine: newMachine()})
}

type ecsAgency struct {
	address string
	machine machine
}

func (e *ecsAgency) issue(ctx context.Context) (lease, error) { return twice(ctx, e.issueOnce) }

// issueOnce gets a metadata token and keys.
func (e *ecsAgency) issueOnce(ctx context.Context) (l lease, passing bool, err error) {
	status, token, err := e.machine.ask(ctx, http.MethodPut, e.address+"/meta-data/latest/api/token", "",
		"X-Metadata-Token-Ttl-Seconds", strconv.Itoa(int(metadataTokenLife.Seconds())))
	token = bytes.TrimSpace(token)
	switch {
	case err != nil:
		return lease{}, errors.Is(err, errBroken), e.missing("does not answer: " + err.Error())
	case given(status) && sendable(string(token)):
	case slices.Contains([]int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusServiceUnavailable}, status):
		token = nil
	default:
		return lease{}, busy(status), e.missing(fmt.Sprintf("gives no token: HTTP %d", status))
	}
	status, body, err := e.machine.ask(ctx, http.MethodGet, e.address+"/openstack/latest/securitykey", "",
		"X-Metadata-Token", string(token))
	switch {
	case err != nil:
		return lease{}, errors.Is(err, errBroken), e.missing("does not answer: " + err.Error())
	case !given(status): // 401: the token may have ended, or the service may know tokens after all
		return lease{}, busy(status) || status == http.StatusUnauthorized,
			e.missing(fmt.Sprintf("gives no keys: HTTP %d; has this ECS an agency?", status))
	}
	l, err = ecsKey().read(body)
	if err != nil {
		return lease{}, false, fmt.Errorf("no credentials: the metadata service at %s gives no keys: %w", e.address, err)
	}
	return l, false, nil
}

func (e *ecsAgency) missing(what string) error {
	return absent{"the metadata service at " + e.address + " " + what}
}

func (e *ecsAgency) basis(context.Context) (string, error) { return "", nil }
func (e *ecsAgency) rest(error) time.Duration              { return metadataRest }

// The variables of CCE pod identity.
const (
	podAddress   = "HC_CONTAINER_CREDENTIALS_FULL_URI"
	podTokenFile = "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE" //nolint:gosec // the name of a variable
)

// NewPodIdentity makes a source of the temporary keys that CCE gives to a pod: POST to the address in
// HC_CONTAINER_CREDENTIALS_FULL_URI, authorized by the content of the file that HC_CONTAINER_AUTHORIZATION_TOKEN_FILE
// names, which is read anew each time. No proxy is ever asked.
func NewPodIdentity(lookup func(key string) (value string, ok bool)) CredentialSource {
	return newLeased(&podIdentity{lookup: lookup, machine: newMachine()})
}

type podIdentity struct {
	lookup  func(key string) (string, bool)
	machine machine
}

func (p *podIdentity) issue(ctx context.Context) (lease, error) { return twice(ctx, p.issueOnce) }

// issueOnce reads the pod's token and gets keys for it.
func (p *podIdentity) issueOnce(ctx context.Context) (l lease, passing bool, err error) {
	address, _ := p.lookup(podAddress)
	file, _ := p.lookup(podTokenFile)
	if address == "" || file == "" {
		return lease{}, false, absent{podAddress + " and " + podTokenFile + " are not set"}
	}
	content, err := readUpTo(file, maxSecretFile)
	token := strings.TrimSpace(string(content))
	switch {
	case err != nil:
		return lease{}, false, fmt.Errorf("no credentials: %s: %w", podTokenFile, err)
	case token == "" || !sendable(token):
		return lease{}, false, fmt.Errorf("no credentials: the file of %s holds no token", podTokenFile)
	}
	status, body, err := p.machine.ask(ctx, http.MethodPost, address, "{}", "Authorization", token)
	switch {
	case err != nil:
		return lease{}, errors.Is(err, errBroken), fmt.Errorf("no credentials: the address of %s does not answer: %w", podAddress, err)
	case !given(status):
		return lease{}, busy(status), fmt.Errorf("no credentials: the address of %s gives no keys: HTTP %d; is an agency associated with this pod?", podAddress, status)
	}
	l, err = podKey().read(body)
	if err != nil { // the form is in no document, so that of the other service is as good
		l, err = ecsKey().read(body)
	}
	if err != nil {
		return lease{}, false, fmt.Errorf("no credentials: the address of %s gives no keys: %w", podAddress, err)
	}
	return l, false, nil
}

func (p *podIdentity) basis(context.Context) (string, error) { return "", nil }
func (p *podIdentity) rest(error) time.Duration              { return metadataRest }

// ecsKey and podKey are the answers' forms, as the vendor's SDKs read them.
func ecsKey() issuedKey {
	return issuedKey{"credential", "access", "secret", "securitytoken", "expires_at"}
}

func podKey() issuedKey {
	return issuedKey{"credentials", "accessKeyId", "secretAccessKey", "securityToken", "expiration"}
}

// twice asks once more a moment later if what was in the way is passing.
func twice(ctx context.Context, issue func(context.Context) (l lease, passing bool, err error)) (lease, error) {
	l, passing, err := issue(ctx)
	if passing && pause(ctx, metadataPause) {
		l, _, err = issue(ctx)
	}
	return l, err
}

// given says whether an answer holds what was asked for.
func given(status int) bool { return status == http.StatusOK || status == http.StatusCreated }

// busy says whether a service would answer otherwise in a moment.
func busy(status int) bool { return status == http.StatusTooManyRequests || status >= 500 }

// machine asks the services of the machine that the exporter runs on: directly, and patient for a moment only.
type machine struct{ transport *http.Transport }

func newMachine() machine {
	return machine{&http.Transport{
		Proxy:             nil, // what they give out is for this machine alone
		DialContext:       (&net.Dialer{Timeout: time.Second}).DialContext,
		DisableKeepAlives: true, // once an hour
	}}
}

// ask makes a request with one header, if its value is not empty. Its error holds neither the address nor the header.
func (m machine) ask(ctx context.Context, method, address, body, header, value string) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, metadataTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return 0, nil, errors.New("it is no address")
	}
	if value != "" {
		req.Header.Set(header, value)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := m.transport.RoundTrip(req) // which follows no redirects
	if err != nil {
		return 0, nil, plain(err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxMetadata))
	if err != nil {
		return 0, nil, plain(err)
	}
	return resp.StatusCode, answer, nil
}

var errBroken = errors.New("the connection broke")

// plain keeps of an error what quotes neither a request nor an answer.
func plain(err error) error {
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
	return errors.New("what answers does not speak HTTP as it should")
}
