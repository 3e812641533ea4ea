// SPDX-License-Identifier: Apache-2.0

package css

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"css_vpcep_exporter/internal/lenient"
)

// seeds returns bodies to start from.
func seeds() []string {
	return []string{
		SeedBody, "", "{}", "[]", "null", "<html>", `{"connections":null}`, `{"connections":[],"total_count":"2"}`,
		`{"connections":[{"id":7,"status":"ACCEPTED","maxSession":3e3,"created_at":"2018-01-30T07:42:01.174","update_at":null}]}`,
		`{"connections":[{"id":"\ud800","status":[],"maxSession":"unlimited","created_at":5}],"vpcepUpdateSwitch":"false","permissions":[null,"*",{}]}`,
		`{"connections":[{"id":"a","id":"b","\u0069d":"c"}],"connections":[],"total_count":-1,"total_count":1e999}`,
		"{\"connections\":[{\"id\":\"\xff\xfe\x00\",\"vpcepDnsName\":\"\x80\"}]}", "\ufeff{}", `{"total_count":0} x`,
		`{"connections":[{"specificationName":"` + strings.Repeat("é", 600) + `"}]}`,
		`{"x":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `,"total_count":1}`,
		`{"clusters":[{"id":"a","name":"n","status":"200","datastore":{"type":"elasticsearch","version":"7.10.2"},` +
			`"tags":[{"key":"k","value":"v"}],"endpoint":null}],"totalSize":1}`,
		`{"clusters":[null,7,{"id":7,"datastore":"x","tags":[null,{"key":null}]}],"totalSize":"x"}`, `{"clusters":null}`,
	}
}

func checkText(t *testing.T, texts ...string) {
	t.Helper()
	for _, s := range texts {
		if len(s) > 1024 || !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\x1b\x7f") {
			t.Errorf("%d bytes, valid %v: %.80q", len(s), utf8.ValidString(s), s)
		}
	}
}

func checkNumber(t *testing.T, o lenient.Optional[float64]) {
	t.Helper()
	if math.IsNaN(o.Value) || math.IsInf(o.Value, 0) || (!o.Set && o.Value != 0) {
		t.Errorf("number %+v", o)
	}
}

func FuzzParseConnections(f *testing.F) {
	for _, body := range seeds() {
		f.Add([]byte(body))
	}
	statuses := append(Statuses(), "")
	f.Fuzz(func(t *testing.T, body []byte) {
		before := slices.Clone(body)
		list, err := parseConnections(body)
		again, errAgain := parseConnections(before)
		if !slices.Equal(body, before) {
			t.Fatal("the body was changed")
		}
		if (err == nil) != (errAgain == nil) || !reflect.DeepEqual(list, again) {
			t.Fatalf("parsed twice: %+v, %v and %+v, %v", list, err, again, errAgain)
		}
		if err != nil {
			if text := err.Error(); len(text) >= 300 || text != errAgain.Error() || list != nil {
				t.Errorf("error %q, list %+v", text, list)
			}
			return
		}
		if !list.Enabled || list.Incomplete || list.Truncated() != (list.Reported.Set && float64(len(list.Connections)) < list.Reported.Value) {
			t.Errorf("list %+v", list)
		}
		checkNumber(t, list.Reported)
		if n := list.Reported.Value; n < 0 || n != math.Trunc(n) {
			t.Errorf("reported %v", n)
		}
		checkText(t, list.ServiceName)
		for i := range list.Connections {
			c := &list.Connections[i]
			checkText(t, c.ID, c.SpecificationName, c.DomainID, c.IP, c.IPv6, c.DNSName, string(c.Status))
			checkNumber(t, c.MaxSessions)
			if !slices.Contains(statuses, c.Status) {
				t.Errorf("status %q", c.Status)
			}
			if c.Identity() == "" {
				t.Error("no identity")
			}
		}
		for _, p := range list.Permissions.Value {
			checkText(t, p.ID, p.Text, p.Type)
			if id, ok := p.Domain(); ok && id == "" || p.Wildcard() && id != "*" {
				t.Errorf("entry %+v", p)
			}
		}
		checkUnparsable(t, list.Unparsable)
	})
}

func checkUnparsable(t *testing.T, unparsable map[string]int) {
	t.Helper()
	for field, n := range unparsable {
		if n < 1 || !slices.Contains(Fields(), field) {
			t.Errorf("unparsable %q: %d", field, n)
		}
	}
}

func FuzzParseClusters(f *testing.F) {
	for _, body := range seeds() {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		page, err := parseClusters(body)
		again, errAgain := parseClusters(body)
		if (err == nil) != (errAgain == nil) || !reflect.DeepEqual(page, again) {
			t.Fatalf("parsed twice: %+v, %v and %+v, %v", page, err, again, errAgain)
		}
		if err != nil {
			if len(err.Error()) >= 300 {
				t.Errorf("error %q", err)
			}
			return
		}
		checkNumber(t, page.total)
		checkUnparsable(t, page.unparsable)
		for _, c := range page.clusters {
			checkText(t, c.ID, c.Name, c.Status, c.Engine, c.EngineVersion, c.EnterpriseProjectID, c.VPCID)
			for key, value := range c.Tags {
				checkText(t, key, value)
				if key == "" {
					t.Error("a tag without a key")
				}
			}
		}
	})
}
