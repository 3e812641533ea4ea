// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/secret"
)

// The variables of CCE pod identity.
const (
	podAddress   = "HC_CONTAINER_CREDENTIALS_FULL_URI"
	podTokenFile = "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE" //nolint:gosec // the name of a variable
)

// NewPodIdentity returns a source of the temporary keys of a CCE pod: POST to HC_CONTAINER_CREDENTIALS_FULL_URI with
// the content of HC_CONTAINER_AUTHORIZATION_TOKEN_FILE.
func NewPodIdentity(lookup func(key string) (value string, ok bool)) cloud.CredentialSource {
	return newCache(&podIdentity{machineClient: newMachineClient(), lookup: lookup})
}

type podIdentity struct {
	machineClient
	lookup func(key string) (string, bool)
	token  string
}

func (p *podIdentity) issue(ctx context.Context) (issued, error) { return retryOnce(ctx, p.issueOnce) }

func (p *podIdentity) issueOnce(ctx context.Context) (keys issued, temporary bool, err error) {
	address, _ := p.lookup(podAddress)
	file, _ := p.lookup(podTokenFile)
	if address == "" || file == "" {
		return issued{}, false, noCredentials{podAddress + " and " + podTokenFile + " are not set"}
	}
	token, invalid := secret.ReadFile(file, secret.KeyFault)
	if invalid == nil {
		p.token = token
	} else if invalid = fmt.Errorf("the file of %s holds no token: %s: %w", podTokenFile, file, invalid); p.token == "" {
		return issued{}, false, fmt.Errorf("no credentials: %w", invalid)
	}
	status, body, err := p.send(ctx, http.MethodPost, address, "{}", "Authorization", p.token)
	switch {
	case err != nil:
		return issued{}, errors.Is(err, errBroken),
			fmt.Errorf("no credentials: the address of %s does not answer: %w", podAddress, err)
	case !succeeded(status) && invalid != nil:
		return issued{}, retryable(status), fmt.Errorf("no credentials: HTTP %d for the last valid token: %w", status, invalid)
	case !succeeded(status):
		return issued{}, retryable(status),
			fmt.Errorf("no credentials: the address of %s issues no keys: HTTP %d; is an agency associated with this pod?",
				podAddress, status)
	}
	keys, err = parseKeys(body)
	if err != nil {
		return issued{}, false, fmt.Errorf("no credentials: the address of %s issues no keys: %w", podAddress, err)
	}
	return keys, false, nil
}
