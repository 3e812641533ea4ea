// SPDX-License-Identifier: Apache-2.0

package idtoken

import (
	"fmt"
	"strings"
	"testing"
)

func TestURNs(t *testing.T) {
	for urn, valid := range map[string]bool{
		"iam::0123456789abcdef0123456789abcdef:agency:css-reader": true, "iam::a_-9:agency:读取者": true,
		"iam::1:agency:two words": true, "iam::1:agency:": false, "iam:::agency:a": false, "iam::1:agency: a": false,
		"iam::1:agency:a:b": false, "iam::1:oidcProvider:a": false, "iam::1:Agency:a": false, "iam:x:1:agency:a": false,
		"sts::1:agency:a": false, "iam::1/2:agency:a": false, "iam::1:agency:a\u200B": false, "a": false, "": false,
	} {
		fault := AgencyURNFault(urn)
		if (fault == "") != valid || (urn != "" && strings.Contains(fault, urn+" ")) {
			t.Errorf("%q: got the fault %q, want valid: %t", urn, fault, valid)
		}
		provider := strings.Replace(urn, ":agency:", ":oidcProvider:", 1)
		if fault := ProviderURNFault(provider); valid && fault != "" {
			t.Errorf("%q: got the fault %q, want none", provider, fault)
		}
	}
}

func TestPrintedVariablesAreHidden(t *testing.T) {
	v, mistakes := Read(func(name string) string {
		return map[string]string{
			ProviderVariable: "iam::1:oidcProvider:a", agencyVariable: "iam::1:agency:a", tokenVariable: "S3CRET",
		}[name]
	})
	if v == nil || len(mistakes) > 0 || string(v.Token) != "S3CRET" {
		t.Fatalf("got %v, %q", v, mistakes)
	}
	if text := fmt.Sprintf("%v %+v %#v", v, *v, v); strings.Contains(text, "S3CRET") {
		t.Errorf("the token is shown: %s", text)
	}
}
