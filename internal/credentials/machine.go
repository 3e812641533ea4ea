// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/lenient"
)

const (
	machineTimeout    = 3 * time.Second
	machineRetryDelay = 200 * time.Millisecond
	machineBackOff    = 15 * time.Second
	maxMachineBody    = 64 << 10
)

// machineClient sends requests to the services of this machine, without a proxy.
type machineClient struct{ transport *http.Transport }

func newMachineClient() machineClient {
	return machineClient{&http.Transport{
		DialContext:       (&net.Dialer{Timeout: time.Second}).DialContext,
		DisableKeepAlives: true,
	}}
}

func (machineClient) input(context.Context) (string, error) { return "", nil }
func (machineClient) backOff(error, int) time.Duration      { return machineBackOff }

// send sends a request with a header, unless its value is empty. The error quotes neither the address nor the header.
func (m machineClient) send(
	ctx context.Context, method, address, body, header, value string,
) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, machineTimeout)
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
	resp, err := m.transport.RoundTrip(req)
	if err != nil {
		return 0, nil, safeError(err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxMachineBody))
	if err != nil {
		return 0, nil, safeError(err)
	}
	return resp.StatusCode, answer, nil
}

var errBroken = errors.New("the connection broke")

// safeError returns an error that quotes neither the request nor the response.
func safeError(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	var network *net.OpError
	var dns *net.DNSError
	switch {
	case errors.As(err, &network), errors.As(err, &dns),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errBroken
	}
	return errors.New("malformed HTTP response")
}

func retryOnce(
	ctx context.Context, issue func(context.Context) (keys issued, temporary bool, err error),
) (issued, error) {
	keys, temporary, err := issue(ctx)
	if temporary && cloud.Sleep(ctx, machineRetryDelay) {
		keys, _, err = issue(ctx)
	}
	return keys, err
}

func succeeded(status int) bool { return status == http.StatusOK || status == http.StatusCreated }

func retryable(status int) bool { return status == http.StatusTooManyRequests || status >= 500 }

// parseKeys decodes the forms of all services: that of pod identity is undocumented.
func parseKeys(body []byte) (issued, error) {
	var ecs, pod issued
	var ecsExpires, podExpires lenient.Optional[time.Time]
	_, err := lenient.Decode(body, lenient.Object{
		"credential": lenient.Object{
			"access":        lenient.Secret(&ecs.AccessKey),
			"secret":        lenient.Secret(&ecs.SecretKey),
			"securitytoken": lenient.Secret(&ecs.SecurityToken),
			"expires_at":    lenient.Optionally(&ecsExpires, lenient.ParseTime),
		}.Decode,
		"credentials": lenient.Object{
			"accessKeyId":     lenient.Secret(&pod.AccessKey),
			"secretAccessKey": lenient.Secret(&pod.SecretKey),
			"securityToken":   lenient.Secret(&pod.SecurityToken),
			"expiration":      lenient.Optionally(&podExpires, lenient.ParseTime),

			"access_key_id":     lenient.Secret(&pod.AccessKey), // of STS
			"secret_access_key": lenient.Secret(&pod.SecretKey),
			"security_token":    lenient.Secret(&pod.SecurityToken),
		}.Decode,
	})
	ecs.expires, pod.expires = ecsExpires.Value, podExpires.Value
	switch {
	case err != nil:
		return issued{}, err
	case ecs.Usable():
		return ecs, nil
	case pod.Usable():
		return pod, nil
	}
	return issued{}, errors.New("the response holds no access key and secret key")
}

// parseTemporary decodes keys that are valid with a security token only.
func parseTemporary(body []byte) (issued, error) {
	keys, err := parseKeys(body)
	if err == nil && keys.SecurityToken == "" {
		return issued{}, errors.New("the response holds no security token")
	}
	return keys, err
}
