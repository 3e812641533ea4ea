// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// AccountAgency is an agency of an account, which callers of other accounts may assume: by IAM with the account's name or
// ID, or by STS with its ID.
type AccountAgency struct {
	Name                 string
	DomainName, DomainID string        // the account
	Callers              []string      // access keys, or domain/name of users; none means all
	Projects             []string      // IDs; none means all
	Life                 time.Duration // of issued keys; default: as requested
	ExpiryLayout         string        // of the time of expiry; default: that of the vendor's example
}

// AddAgency adds an agency, or replaces one with the same name and account. Issued keys stay valid.
func (s *Simulator) AddAgency(a AccountAgency) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.Callers, a.Projects = slices.Clone(a.Callers), slices.Clone(a.Projects)
	s.deleteAgency(a.Name, a.DomainID)
	s.accountAgencies = append(s.accountAgencies, &a)
}

// DeleteAgency deletes an agency. Issued keys stay valid; see also ExpireKeys.
func (s *Simulator) DeleteAgency(name, domainID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deleteAgency(name, domainID)
}

// deleteAgency needs s.mu.
func (s *Simulator) deleteAgency(name, domainID string) {
	s.accountAgencies = slices.DeleteFunc(s.accountAgencies, func(a *AccountAgency) bool {
		return a.Name == name && a.DomainID == domainID
	})
}

// assumption is a request for the keys of an agency.
type assumption struct {
	agency, domainName, domainID string
	life                         time.Duration
}

const (
	minAssumedLife    = 15 * time.Minute
	maxIAMLife        = 24 * time.Hour
	maxSTSLife        = 12 * time.Hour
	maxSTSChainedLife = time.Hour // for a caller with temporary keys
)

// seconds returns the duration at a path, or false if it is out of bounds.
func seconds(v any, longest time.Duration) (life time.Duration, ok bool) {
	if v == nil {
		return minAssumedLife, true
	}
	n, ok := v.(float64)
	life = time.Duration(n) * time.Second
	return life, ok && n == float64(int(n)) && life >= minAssumedLife && life <= longest
}

// parseIAMAssumption decodes no structs, for the same reason as parseLogin.
func parseIAMAssumption(body []byte) (assumption, bool) {
	var v any
	if json.Unmarshal(body, &v) != nil {
		return assumption{}, false
	}
	identity := valueAt(v, "auth", "identity")
	methods, _ := valueAt(identity, "methods").([]any)
	role := valueAt(identity, "assume_role")
	life, ok := seconds(valueAt(role, "duration_seconds"), maxIAMLife)
	a := assumption{textAt(role, "agency_name"), textAt(role, "domain_name"), textAt(role, "domain_id"), life}
	complete := a.agency != "" && (a.domainName == "") != (a.domainID == "")
	return a, ok && complete && len(methods) == 1 && methods[0] == "assume_role"
}

func parseSTSAssumption(body []byte, temporaryCaller bool) (assumption, bool) {
	var v any
	if json.Unmarshal(body, &v) != nil {
		return assumption{}, false
	}
	longest := maxSTSLife
	if temporaryCaller {
		longest = maxSTSChainedLife
	}
	life, ok := seconds(valueAt(v, "duration_seconds"), longest)
	account, agency, isURN := strings.Cut(strings.TrimPrefix(textAt(v, "agency_urn"), "iam::"), ":agency:")
	a := assumption{agency: agency, domainID: account, life: life}
	named := validSessionName(textAt(v, "agency_session_name"))
	return a, ok && isURN && strings.HasPrefix(textAt(v, "agency_urn"), "iam::") && a.agency != "" && a.domainID != "" && named
}

// assume issues keys of the agency if the caller may assume it. The caller of this method holds s.mu.
func (s *Simulator) assume(a assumption, c caller, now time.Time) (key Key, layout string, ok bool) {
	i := slices.IndexFunc(s.accountAgencies, func(known *AccountAgency) bool {
		return known.Name == a.agency && (a.domainID == known.DomainID && a.domainID != "" ||
			a.domainName == known.DomainName && a.domainName != "")
	})
	if i < 0 {
		return Key{}, "", false
	}
	agency := s.accountAgencies[i]
	if len(agency.Callers) > 0 && !slices.Contains(agency.Callers, c.access) && !slices.Contains(agency.Callers, c.user.String()) {
		return Key{}, "", false
	}
	if agency.Life > 0 {
		a.life = agency.Life
	}
	issued := newIssuer(agency.Projects, a.life, 0)
	layout = agency.ExpiryLayout
	return s.issueKey(&issued, now), layout, true
}

// assumeByIAM answers POST /v3.0/OS-CREDENTIAL/securitytokens.
func (s *Simulator) assumeByIAM(body []byte, c caller) response {
	type credential struct {
		ExpiresAt     string `json:"expires_at"`
		Access        string `json:"access"`
		Secret        string `json:"secret"`
		SecurityToken string `json:"securitytoken"`
	}
	a, ok := parseIAMAssumption(body)
	if !ok {
		return iamCodeError(http.StatusBadRequest, "IAM.0011", "Request parameter is invalid.")
	}
	now := s.opts.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	key, layout, ok := s.assume(a, c, now)
	if !ok {
		return iamCodeError(http.StatusForbidden, "IAM.0002", "Authentication failed.")
	}
	if layout == "" {
		layout = microseconds
	}
	return jsonResponse(http.StatusCreated, struct {
		Credential credential `json:"credential"`
	}{credential{key.Expires.Format(layout), key.Access, key.Secret, key.SecurityToken}})
}

// assumeBySTS answers POST /v5/agencies/assume, for callers with a signature only.
func (s *Simulator) assumeBySTS(body []byte, c caller) response {
	type assumed struct {
		URN string `json:"urn"`
		ID  string `json:"id"`
	}
	type credentials struct {
		AccessKeyID     string `json:"access_key_id"`
		SecretAccessKey string `json:"secret_access_key"`
		SecurityToken   string `json:"security_token"`
		Expiration      string `json:"expiration"`
	}
	now := s.opts.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := parseSTSAssumption(body, s.temporary[c.access] != nil)
	if !ok {
		return *stsError(http.StatusBadRequest, "STS5.0002", "The request is invalid.")
	}
	key, layout, ok := s.assume(a, c, now)
	if !ok {
		return *stsError(http.StatusForbidden, "STS5.0003", "The caller may not assume the agency.")
	}
	if layout == "" {
		layout = milliseconds
	}
	urn := "sts::" + a.domainID + ":assumed-agency:" + a.agency
	return jsonResponse(http.StatusOK, struct {
		Assumed     assumed     `json:"assumed_agency"`
		Credentials credentials `json:"credentials"`
	}{
		assumed{urn, hexID("agency " + a.agency)},
		credentials{key.Access, key.Secret, key.SecurityToken, key.Expires.Format(layout)},
	})
}

// The codes of STS are invented after the pattern STS5.…, because no list of them is known.
func stsError(status int, code, message string) *response {
	encoded := ""
	if status == http.StatusForbidden {
		encoded = "ENCODED-" + randomText(60) // must not be logged
	}
	resp := jsonResponse(status, struct {
		Code    string `json:"error_code"`
		Message string `json:"error_msg"`
		Encoded string `json:"encoded_authorization_message,omitempty"`
	}{code, message, encoded})
	return &resp
}

func iamCodeError(status int, code, message string) response {
	return jsonResponse(status, struct {
		Code    string `json:"error_code"`
		Message string `json:"error_msg"`
	}{code, message})
}
