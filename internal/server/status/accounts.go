// SPDX-License-Identifier: Apache-2.0

package status

import (
	"time"

	"css_vpcep_exporter/internal/discovery"
)

// accountStatus is an entry of the configuration with regions.
type accountStatus struct {
	Name        string    `json:"name"`
	State       condition `json:"state"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	Age         *int64    `json:"age_seconds,omitempty"`
	Projects    *int      `json:"projects,omitempty"`
	Error       *failure  `json:"error,omitempty"`
}

// addAccounts adds the accounts, failing ones first.
func (v *view) addAccounts(states []discovery.AccountState, now time.Time) {
	var others []accountStatus
	for i := range states {
		s := &states[i]
		a := accountStatus{Name: s.Account.Name, State: unread}
		if !s.LastSuccess.IsZero() {
			a.LastSuccess, a.Age = utc(s.LastSuccess), seconds(now.Sub(s.LastSuccess))
		}
		if !s.LastSuccess.IsZero() || s.Projects > 0 { // otherwise, the number is unknown, not zero
			a.Projects = new(s.Projects)
		}
		switch {
		case s.Err != nil:
			a.State, a.Error = failing, newFailure(s.Err)
			v.Totals.FailingAccounts++
			v.Accounts = append(v.Accounts, a)
			continue
		case s.Tried:
			a.State = ok
		}
		others = append(others, a)
	}
	v.Accounts = append(v.Accounts, others...)
}

// Badge is the text of the state.
func (a accountStatus) Badge() string {
	if a.State == unread {
		return "not listed yet"
	}
	return string(a.State)
}
