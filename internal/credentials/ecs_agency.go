// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"css_vpcep_exporter/internal/clean"
	"css_vpcep_exporter/internal/cloud"
)

const metadataTokenLife = 6 * time.Hour // the maximum

// NewECSAgency returns a source of the temporary keys of an ECS with an agency, from the metadata service at address:
// PUT /meta-data/latest/api/token, which older services do not have, then GET /openstack/latest/securitykey.
func NewECSAgency(address string) cloud.CredentialSource {
	return newCache(&ecsAgency{newMachineClient(), address})
}

type ecsAgency struct {
	machineClient
	address string
}

func (e *ecsAgency) issue(ctx context.Context) (issued, error) { return retryOnce(ctx, e.issueOnce) }

func (e *ecsAgency) issueOnce(ctx context.Context) (keys issued, temporary bool, err error) {
	status, token, err := e.send(ctx, http.MethodPut, e.address+"/meta-data/latest/api/token", "",
		"X-Metadata-Token-Ttl-Seconds", strconv.Itoa(int(metadataTokenLife.Seconds())))
	token = bytes.TrimSpace(token)
	switch {
	case err != nil:
		return issued{}, errors.Is(err, errBroken), e.missing("does not answer: " + err.Error())
	case succeeded(status) && clean.IsPrintable(string(token)):
	case slices.Contains([]int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusServiceUnavailable}, status):
		token = nil
	default:
		return issued{}, retryable(status), e.missing(fmt.Sprintf("issues no token: HTTP %d", status))
	}
	status, body, err := e.send(ctx, http.MethodGet, e.address+"/openstack/latest/securitykey", "",
		"X-Metadata-Token", string(token))
	switch {
	case err != nil:
		return issued{}, errors.Is(err, errBroken), e.missing("does not answer: " + err.Error())
	case !succeeded(status): // 401: the token may have expired
		return issued{}, retryable(status) || status == http.StatusUnauthorized,
			e.missing(fmt.Sprintf("issues no keys: HTTP %d; does this ECS have an agency?", status))
	}
	keys, err = parseKeys(body)
	if err != nil {
		return issued{}, false, fmt.Errorf("no credentials: the metadata service at %s issues no keys: %w", e.address, err)
	}
	return keys, false, nil
}

func (e *ecsAgency) missing(what string) error {
	return noCredentials{"the metadata service at " + e.address + " " + what}
}
