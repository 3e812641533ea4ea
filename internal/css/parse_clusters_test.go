// SPDX-License-Identifier: Apache-2.0

package css

import (
	"strings"
	"testing"

	"css_vpcep_exporter/internal/lenient"

	"github.com/google/go-cmp/cmp"
)

func TestParseClusters(t *testing.T) {
	for _, test := range []struct {
		name, body string
		want       []Cluster
		total      lenient.Optional[float64]
	}{
		{
			"all", `{"clusters":[{"id":"a","name":"n","status":"200","datastore":{"type":"opensearch","version":"2.19.0","supportSecurityMode":true},
				"enterpriseProjectId":"0","vpcId":"v","tags":[{"key":"team","value":"search"},{"key":"x","value":""}],
				"created":"2024-06-11T09:36:24","endpoint":null,"instances":[{"id":"i","status":"200"}]}],"totalSize":1}`,
			[]Cluster{{
				ID: "a", Name: "n", Status: "200", Engine: "opensearch", EngineVersion: "2.19.0", EnterpriseProjectID: "0",
				VPCID: "v", Tags: map[string]string{"team": "search", "x": ""},
			}}, lenient.Some(1.0),
		},
		{
			"null everywhere", `{"clusters":[{"id":"a","name":null,"status":null,"datastore":null,"enterpriseProjectId":null,
				"vpcId":null,"tags":null,"endpoint":null}],"totalSize":null}`,
			[]Cluster{{ID: "a"}}, lenient.Optional[float64]{},
		},
		{
			"odd everywhere", `{"clusters":[{"id":"a","name":{},"status":200,"datastore":"elasticsearch","enterpriseProjectId":false,
				"vpcId":[],"tags":{"team":"search"},"endpoint":{"x":[]}},{"id":"b","datastore":{"type":7,"version":{}}},
				{"id":"c","tags":[null,7,"x",{},{"key":"k"},{"value":"v"},{"key":3,"value":4},{"key":"z","value":null}]}]}`,
			[]Cluster{{ID: "a", Status: "200"}, {ID: "b", Engine: "7"}, {ID: "c", Tags: map[string]string{"k": "", "3": "4", "z": ""}}},
			lenient.Optional[float64]{},
		},
		{
			"odd clusters", `{"totalSize":"4","clusters":[null,7,"x",[],{"id":"a"},{}]}`,
			[]Cluster{{}, {}, {}, {}, {ID: "a"}, {}}, lenient.Some(4.0),
		},
		{"null list", `{"clusters":null,"totalSize":0}`, nil, lenient.Some(0.0)},
		{"null list alone", `{"clusters":null}`, nil, lenient.Optional[float64]{}},
		{"hostile", "{\"clusters\":[{\"id\":\"a\xff\\u0000\",\"name\":\"" + strings.Repeat("x", 5000) + "\"}]}",
			[]Cluster{{ID: "a\ufffd\ufffd", Name: strings.Repeat("x", 1024)}}, lenient.Optional[float64]{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			page, err := parseClusters([]byte(test.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, page.clusters); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if page.total != test.total {
				t.Errorf("got total %v, want %v", page.total, test.total)
			}
		})
	}
	for _, body := range []string{
		"", "{}", "[]", "null", "<html>", `{"totalSize":3}`, `{"clusters":{}}`, `{"clusters":"x"}`, `{"clusters":7}`,
		`{"clusters":[{"id":"a"}`, `{"clusters":[]} x`, `{"errCode":"CSS.0001"}`,
	} {
		if page, err := parseClusters([]byte(body)); err == nil {
			t.Errorf("%q: got %v, want an error", body, page)
		}
	}
}
