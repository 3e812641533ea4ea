// SPDX-License-Identifier: Apache-2.0

package syntax

import (
	"strings"
	"testing"
)

func TestFaults(t *testing.T) {
	long := strings.Repeat("a", 2000)
	for name, check := range map[string]struct {
		fault          func(string) string
		valid, invalid []string
	}{
		"label value": {LabelValueFault, []string{"", "团队 a", long[:1024]}, []string{long[:1025]}},
		"label name":  {LabelNameFault, []string{"team", "_a1", "A"}, []string{"", "1a", "a-b", "团队", "__a", "region", "le"}},
		"region":      {RegionFault, []string{"cn-north-4", "x1"}, []string{"-a", "a-", "CN", "a.b", "a/b", long[:64]}},
		"project ID":  {ProjectIDFault, []string{"0a_B-"}, []string{".", "..", "a/b", "a b", long[:65]}},
		"cluster ID":  {ClusterIDFault, []string{"0a_B-.c"}, []string{".", "..", "a/b", "a?b", long[:129]}},
	} {
		for _, s := range check.valid {
			if fault := check.fault(s); fault != "" {
				t.Errorf("%s %q: got %q, want no fault", name, s, fault)
			}
		}
		for _, s := range check.invalid {
			if check.fault(s) == "" {
				t.Errorf("%s %q: got no fault", name, s)
			}
		}
	}
}

func TestParseEndpoint(t *testing.T) {
	for s, want := range map[string]string{
		"https://css.example.com": "https://css.example.com", "http://127.0.0.1:8080/": "http://127.0.0.1:8080",
		"https://user:password@css.example.com": "", "css.example.com": "", "ftp://h": "", "https://h/path": "",
		"https://h?a=b": "", "https://css.{region}.example.com": "",
	} {
		address, fault := ParseEndpoint(s)
		if address != want || (fault == "") != (want != "") || strings.Contains(fault, "password@") {
			t.Errorf("%s: got %q and the fault %q, want %q", s, address, fault, want)
		}
	}
}
