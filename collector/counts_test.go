// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"testing"

	"css_vpcep_exporter/internal/css"
)

func TestAllowlistJudgesEachAccount(t *testing.T) {
	const a, b, path = "iam:domain::a", "iam:domain::b", "organizations:orgPath::o/*"
	type judgement struct{ allowed, known bool }
	yes, no, unknown := judgement{true, true}, judgement{false, true}, judgement{}
	for _, tc := range []struct {
		permissions []string
		account     string
		want        judgement
	}{
		{nil, "a", unknown},
		{[]string{a}, "a", yes},
		{[]string{a, b}, "b", yes},
		{[]string{a}, "b", no},
		{[]string{a}, "", unknown},
		{[]string{path, a}, "a", yes},
		{[]string{a, path}, "b", unknown},
		{[]string{path}, "", unknown},
		{[]string{"", "iam:domain::"}, "", unknown},
		{[]string{path, "*"}, "b", yes},
		{[]string{"iam:domain::*"}, "", yes},
	} {
		var permissions []css.Permission
		for _, text := range tc.permissions {
			permissions = append(permissions, css.Permission{Text: text})
		}
		allowed, known := NewAllowlist(permissions).Allows(tc.account)
		if got := (judgement{allowed, known}); got != tc.want {
			t.Errorf("%q, account %q: got %+v, want %+v", tc.permissions, tc.account, got, tc.want)
		}
	}
}

// TestConnectionWithoutAccountHidesNoOther checks that a single odd connection does not hide that another is unlisted.
func TestConnectionWithoutAccountHidesNoOther(t *testing.T) {
	list := &css.ConnectionList{Connections: []css.Connection{
		{ID: "1", Status: css.StatusAccepted}, {ID: "2", Status: css.StatusAccepted, DomainID: "stranger"},
		{ID: "3", Status: css.StatusAccepted, DomainID: "a"},
	}}
	list.Permissions.Value = []css.Permission{{Text: "iam:domain::a"}}
	if unlisted, ok := Unlisted(list); !ok || len(unlisted) != 1 || unlisted[0].ID != "2" {
		t.Errorf("got %v, %v, want connection 2", unlisted, ok)
	}
	list.Connections[1].DomainID = "a"
	if unlisted, ok := Unlisted(list); ok {
		t.Errorf("got %v, want unknown: the account of connection 1 may be any", unlisted)
	}
}
