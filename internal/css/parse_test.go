// SPDX-License-Identifier: Apache-2.0

package css

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/lenient"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func utc(year int, month time.Month, day, hour, minute, second, nano int) lenient.Optional[time.Time] {
	return lenient.Some(time.Date(year, month, day, hour, minute, second, nano, time.UTC))
}

// MustParse parses a page.
func MustParse(t *testing.T, body string) *ConnectionList {
	t.Helper()
	list, err := parseConnections([]byte(body))
	if err != nil {
		t.Fatalf("%v: %.200s", err, body)
	}
	return list
}

func compare(t *testing.T, got, want any) {
	t.Helper()
	ignoreNil := cmp.FilterPath(func(p cmp.Path) bool {
		name := p.Last().String()
		return name == ".Connections" || name == ".Unparsable"
	}, cmpopts.EquateEmpty())
	if diff := cmp.Diff(want, got, ignoreNil, cmpopts.IgnoreUnexported(ConnectionList{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestParseDocumentedAnswer(t *testing.T) {
	const domain = "db9b76a0d9ae431f8e85e89da2ca867c"
	compare(t, MustParse(t, SeedBody), &ConnectionList{
		Enabled:  true,
		Reported: lenient.Some(2.0),
		Connections: []Connection{
			{
				ID: "54b7f739-31a1-40d0-862b-ac85b83ab2da", Status: StatusAccepted, MaxSessions: lenient.Some(3000.0),
				SpecificationName: "default", CreatedAt: utc(2024, 6, 11, 9, 36, 24, 0), DomainID: domain, IP: "192.168.0.122",
			},
			{
				ID: "e88ad0bc-c2c7-419c-bd9b-a961111f0a42", Status: StatusAccepted, MaxSessions: lenient.Some(3000.0),
				SpecificationName: "default", CreatedAt: utc(2023, 10, 12, 7, 33, 16, 0), DomainID: domain, IP: "192.168.0.133",
			},
		},
		ServiceName:  "cn-north-4.css-op-no-delete.cf072729-b076-49db-83d3-020dc9f589bd",
		UpdateSwitch: lenient.Some(false),
		Permissions: lenient.Some([]Permission{{
			ID: "432a6429-f377-4168-8b24-feb5885af08c", CreatedAt: utc(2023, 10, 12, 7, 33, 11, 0),
			Text: "iam:domain::" + domain, Type: "domainId",
		}}),
	})
	if got := MustParse(t, SeedBody).Connections[0].CreatedAt.Value.Unix(); got != 1718098584 {
		t.Errorf("created at %d, want 1718098584", got)
	}
}

// fieldTest is a field of a connection in a form that an API has sent, or might send.
type fieldTest struct {
	field, value string // value is JSON
	want         Connection
	unparsable   int // how often the field is counted
}

// checkFields parses a field beside an ID and before another connection, which it must not affect.
func checkFields(t *testing.T, tests []fieldTest) {
	t.Helper()
	for _, test := range tests {
		t.Run(fmt.Sprintf("%.30s=%.40s", test.field, test.value), func(t *testing.T) {
			test.want.ID = "c1"
			body := `{"connections":[{"` + test.field + `":` + test.value + `,"id":"c1"},{"id":"c2"}],"total_count":2}`
			want := &ConnectionList{Enabled: true, Reported: lenient.Some(2.0), Connections: []Connection{test.want, {ID: "c2"}}}
			if test.unparsable > 0 {
				want.Unparsable = map[string]int{test.field: test.unparsable}
			}
			compare(t, MustParse(t, body), want)
		})
	}
}

func TestParseStatus(t *testing.T) {
	checkFields(t, []fieldTest{
		{"status", `"accepted"`, Connection{Status: StatusAccepted}, 0},
		{"status", `"ACCEPTED"`, Connection{Status: StatusAccepted}, 0},
		{"status", `" Rejected\n"`, Connection{Status: StatusRejected}, 0},
		{"status", `"pendingAcceptance"`, Connection{Status: StatusPendingAcceptance}, 0},
		{"status", `"PENDINGACCEPTANCE"`, Connection{Status: StatusPendingAcceptance}, 0},
		{"status", `"creating"`, Connection{Status: StatusCreating}, 0},
		{"status", `"Failed"`, Connection{Status: StatusFailed}, 0},
		{"status", `"deleting"`, Connection{Status: StatusDeleting}, 0},
		{"status", `"unknown"`, Connection{Status: StatusUnknown}, 0},
		{"status", `"frozen"`, Connection{Status: StatusUnknown}, 0},
		{"status", `"accepted2"`, Connection{Status: StatusUnknown}, 0},
		{"status", `"acceptedå"`, Connection{Status: StatusUnknown}, 0},
		{"status", `"\u0061ccepted"`, Connection{Status: StatusAccepted}, 0},
		{"status", `5`, Connection{Status: StatusUnknown}, 0},
		{"status", `""`, Connection{}, 0},
		{"status", `null`, Connection{}, 0},
		{"status", `true`, Connection{}, 1},
		{"status", `["accepted"]`, Connection{}, 1},
		{"status", `{"a":"accepted"}`, Connection{}, 1},
	})
}

func TestParseMaxSession(t *testing.T) {
	checkFields(t, []fieldTest{
		{"maxSession", `"3000"`, Connection{MaxSessions: lenient.Some(3000.0)}, 0},
		{"maxSession", `"1000000"`, Connection{MaxSessions: lenient.Some(1e6)}, 0},
		{"maxSession", `3000`, Connection{MaxSessions: lenient.Some(3000.0)}, 0},
		{"maxSession", `3e3`, Connection{MaxSessions: lenient.Some(3000.0)}, 0},
		{"maxSession", `" 3000 "`, Connection{MaxSessions: lenient.Some(3000.0)}, 0},
		{"maxSession", `0`, Connection{MaxSessions: lenient.Some(0.0)}, 0},
		{"maxSession", `"0"`, Connection{MaxSessions: lenient.Some(0.0)}, 0},
		{"maxSession", `"3000.0"`, Connection{MaxSessions: lenient.Some(3000.0)}, 0},
		{"maxSession", `9007199254740992`, Connection{MaxSessions: lenient.Some(9007199254740992.0)}, 0},
		{"maxSession", `""`, Connection{}, 0},
		{"maxSession", `"  "`, Connection{}, 0},
		{"maxSession", `null`, Connection{}, 0},
		{"maxSession", `-1`, Connection{}, 1},
		{"maxSession", `"-1"`, Connection{}, 1},
		{"maxSession", `3000.5`, Connection{}, 1},
		{"maxSession", `"3000.5"`, Connection{}, 1},
		{"maxSession", `1e300`, Connection{}, 1},
		{"maxSession", `"1e300"`, Connection{}, 1},
		{"maxSession", `9007199254740993`, Connection{}, 1},
		{"maxSession", `"unlimited"`, Connection{}, 1},
		{"maxSession", `"3,000"`, Connection{}, 1},
		{"maxSession", `"3000 sessions"`, Connection{}, 1},
		{"maxSession", `"NaN"`, Connection{}, 1},
		{"maxSession", `"Inf"`, Connection{}, 1},
		{"maxSession", `"-infinity"`, Connection{}, 1},
		{"maxSession", `1e999`, Connection{}, 1},
		{"maxSession", `"1e999"`, Connection{}, 1},
		{"maxSession", `"0x1F"`, Connection{}, 1},
		{"maxSession", `"0x_1p4"`, Connection{}, 1},
		{"maxSession", `"１２"`, Connection{}, 1},
		{"maxSession", `"1_000"`, Connection{}, 1},
		{"maxSession", `true`, Connection{}, 1},
		{"maxSession", `[]`, Connection{}, 1},
		{"maxSession", `{"value":"3000"}`, Connection{}, 1},
	})
}

func TestParseTimes(t *testing.T) {
	checkFields(t, []fieldTest{
		{"created_at", `"2024-06-11T09:36:24Z"`, Connection{CreatedAt: utc(2024, 6, 11, 9, 36, 24, 0)}, 0},
		{"created_at", `"2024-06-11T09:36:24"`, Connection{CreatedAt: utc(2024, 6, 11, 9, 36, 24, 0)}, 0},
		{"created_at", `"2024-06-11 09:36:24"`, Connection{CreatedAt: utc(2024, 6, 11, 9, 36, 24, 0)}, 0},
		{"created_at", `"2018-01-30T07:42:01.174"`, Connection{CreatedAt: utc(2018, 1, 30, 7, 42, 1, 174_000_000)}, 0},
		{"created_at", `"2018-01-30T07:42:01.174Z"`, Connection{CreatedAt: utc(2018, 1, 30, 7, 42, 1, 174_000_000)}, 0},
		{"created_at", `"2018-01-30T07:42:01.123456789Z"`, Connection{CreatedAt: utc(2018, 1, 30, 7, 42, 1, 123_456_789)}, 0},
		{"created_at", `"2024-06-11T17:36:24+08:00"`, Connection{CreatedAt: utc(2024, 6, 11, 9, 36, 24, 0)}, 0},
		{"created_at", `"2024-06-11T17:36:24+0800"`, Connection{CreatedAt: utc(2024, 6, 11, 9, 36, 24, 0)}, 0},
		{"created_at", `" 2024-06-11T09:36:24Z "`, Connection{CreatedAt: utc(2024, 6, 11, 9, 36, 24, 0)}, 0},
		{"created_at", `"1970-01-01T00:00:00Z"`, Connection{CreatedAt: utc(1970, 1, 1, 0, 0, 0, 0)}, 0},
		{"created_at", `"0001-01-01T00:00:00Z"`, Connection{CreatedAt: utc(1, 1, 1, 0, 0, 0, 0)}, 0}, // a time, if an odd one
		{"created_at", `"9999-12-31T23:59:59Z"`, Connection{CreatedAt: utc(9999, 12, 31, 23, 59, 59, 0)}, 0},
		{"created_at", `"10000-01-01T00:00:00Z"`, Connection{}, 1},
		{"created_at", `"0000-00-00T00:00:00Z"`, Connection{}, 1},
		{"created_at", `null`, Connection{}, 0},
		{"created_at", `""`, Connection{}, 0},
		{"created_at", `"yesterday"`, Connection{}, 1},
		{"created_at", `"2024-13-11T09:36:24Z"`, Connection{}, 1},
		{"created_at", `"2024-02-30T09:36:24Z"`, Connection{}, 1},
		{"created_at", `"2024-06-11"`, Connection{}, 1},
		{"created_at", `"2024-06-11T09:36:24Zulu"`, Connection{}, 1},
		{"created_at", `1718098584`, Connection{}, 1},
		{"created_at", `1718098584000`, Connection{}, 1},
		{"created_at", `false`, Connection{}, 1},
		{"created_at", `{}`, Connection{}, 1},
		{"update_at", `"2024-06-11T09:36:24"`, Connection{UpdatedAt: utc(2024, 6, 11, 9, 36, 24, 0)}, 0},
		{"update_at", `null`, Connection{}, 0},
		{"update_at", `"null"`, Connection{}, 1},
		{"updated_at", `"2024-06-11T09:36:24"`, Connection{}, 0}, // not the API's name
	})
}

func TestParseText(t *testing.T) {
	long := strings.Repeat("é", 100_000) // two bytes each
	truncated := strings.Repeat("é", 512)
	checkFields(t, []fieldTest{
		{"specificationName", `"default"`, Connection{SpecificationName: "default"}, 0},
		{"specificationName", `null`, Connection{}, 0},
		{"specificationName", `""`, Connection{}, 0},
		{"specificationName", `42`, Connection{SpecificationName: "42"}, 0},
		{"specificationName", `true`, Connection{}, 1},
		{"specificationName", `[[["x"]]]`, Connection{}, 1},
		{"specificationName", `"` + long + `"`, Connection{SpecificationName: truncated}, 0},
		{"specificationName", `"x` + long + `"`, Connection{SpecificationName: "x" + truncated[:1022]}, 0},
		{"specificationName", `"a\"b\\c\nd\te"`, Connection{SpecificationName: "a\"b\\c\nd\te"}, 0},
		{"specificationName", `"a\u0000b\u007fc"`, Connection{SpecificationName: "a\ufffdb\ufffdc"}, 0},
		{"specificationName", `"a\ud800b"`, Connection{SpecificationName: "a\ufffdb"}, 0},
		{"specificationName", `"\udc00\ud800"`, Connection{SpecificationName: "\ufffd\ufffd"}, 0},
		{"specificationName", `"\ud83d\ude00"`, Connection{SpecificationName: "😀"}, 0},
		{"specificationName", "\"a\xffb\xc3\"", Connection{SpecificationName: "a\ufffdb\ufffd"}, 0},
		{"specificationName", "\"\\u0061\xff\"", Connection{SpecificationName: "a\ufffd"}, 0},
		{"specificationName", "\"" + strings.Repeat("\xff", 2000) + "\"",
			Connection{SpecificationName: strings.Repeat("\ufffd", 341)}, 0},
		{"specificationName", "\"" + strings.Repeat("\x80", 2000) + "\"",
			Connection{SpecificationName: strings.Repeat("\ufffd", 341)}, 0},
	})
}

func TestParseOtherFields(t *testing.T) {
	checkFields(t, []fieldTest{
		{"domain_id", `"d"`, Connection{DomainID: "d"}, 0},
		{"domain_id", `null`, Connection{}, 0},
		{"vpcepIp", `"192.168.0.1"`, Connection{IP: "192.168.0.1"}, 0},
		{"vpcepIp", `null`, Connection{}, 0},
		{"vpcepIpv6Address", `"fe80::1"`, Connection{IPv6: "fe80::1"}, 0},
		{"vpcepIpv6Address", `null`, Connection{}, 0},
		{"vpcepIpv6Address", `["fe80::1"]`, Connection{}, 1},
		{"vpcepDnsName", `"x.example"`, Connection{DNSName: "x.example"}, 0},
		{"vpcepDnsName", `null`, Connection{}, 0},
		{"\\u0064omain_id", `"d"`, Connection{DomainID: "d"}, 0}, // an escaped member name is the same name
		{"DOMAIN_ID", `"d"`, Connection{}, 0},
		{"domain_id ", `"d"`, Connection{}, 0},
		{"later", `{"a":[1,{"b":null}],"id":"not this one","status":"rejected"}`, Connection{}, 0},
		{"domain_id\": \"first\", \"domain_id", `"last"`, Connection{DomainID: "last"}, 0},
	})
}

func TestParseListFields(t *testing.T) {
	for _, test := range []struct {
		field, value string
		want         ConnectionList
		odd          map[string]int
	}{
		{"vpcepUpdateSwitch", `true`, ConnectionList{UpdateSwitch: lenient.Some(true)}, nil},
		{"vpcepUpdateSwitch", `false`, ConnectionList{UpdateSwitch: lenient.Some(false)}, nil},
		{"vpcepUpdateSwitch", `"false"`, ConnectionList{UpdateSwitch: lenient.Some(false)}, nil},
		{"vpcepUpdateSwitch", `"true"`, ConnectionList{UpdateSwitch: lenient.Some(true)}, nil},
		{"vpcepUpdateSwitch", `" False "`, ConnectionList{UpdateSwitch: lenient.Some(false)}, nil},
		{"vpcepUpdateSwitch", `null`, ConnectionList{}, nil},
		{"vpcepUpdateSwitch", `""`, ConnectionList{}, nil},
		{"vpcepUpdateSwitch", `"on"`, ConnectionList{}, map[string]int{"vpcepUpdateSwitch": 1}},
		{"vpcepUpdateSwitch", `0`, ConnectionList{}, map[string]int{"vpcepUpdateSwitch": 1}},
		{"vpcepUpdateSwitch", `1`, ConnectionList{}, map[string]int{"vpcepUpdateSwitch": 1}},
		{"vpcepUpdateSwitch", `[true]`, ConnectionList{}, map[string]int{"vpcepUpdateSwitch": 1}},

		{"vpcServiceName", `"svc"`, ConnectionList{ServiceName: "svc"}, nil},
		{"vpcServiceName", `null`, ConnectionList{}, nil},
		{"vpcServiceName", `""`, ConnectionList{}, nil},
		{"vpcServiceName", `{}`, ConnectionList{}, map[string]int{"vpcServiceName": 1}},

		{"permissions", `null`, ConnectionList{}, nil},
		{"permissions", `[]`, ConnectionList{Permissions: lenient.Some([]Permission{})}, nil},
		{"permissions", `{}`, ConnectionList{}, map[string]int{"permissions": 1}},
		{"permissions", `"*"`, ConnectionList{}, map[string]int{"permissions": 1}},
		{
			"permissions", `[{"permission":"iam:domain::a","permission_type":"domainId"},{"permission":"iam:domain::*"},
				{"permission":"*"},{"permission":"organizations:orgPath::o/r/*","permission_type":"orgPath"}]`,
			ConnectionList{Permissions: lenient.Some([]Permission{
				{Text: "iam:domain::a", Type: "domainId"}, {Text: "iam:domain::*"}, {Text: "*"},
				{Text: "organizations:orgPath::o/r/*", Type: "orgPath"},
			})}, nil,
		},
		{
			"permissions", `[{"id":"i","created_at":"2023-10-12T07:33:11Z"},{"id":7,"created_at":null},{"created_at":""},
				{"id":null,"created_at":"soon"}]`,
			ConnectionList{Permissions: lenient.Some([]Permission{
				{ID: "i", CreatedAt: utc(2023, 10, 12, 7, 33, 11, 0)}, {ID: "7"}, {}, {},
			})}, map[string]int{"created_at": 1},
		},
		{ // an entry stays an entry
			"permissions", `[null,"*",7,[],{},{"permission":null},{"permission":{}},{"permission":"*","permission_type":1}]`,
			ConnectionList{Permissions: lenient.Some([]Permission{{}, {}, {}, {}, {}, {}, {}, {Text: "*", Type: "1"}})},
			map[string]int{"permissions": 3, "permission": 1},
		},

		{"total_count", `2`, ConnectionList{Reported: lenient.Some(2.0)}, nil},
		{"total_count", `"2"`, ConnectionList{Reported: lenient.Some(2.0)}, nil},
		{"total_count", `2.0`, ConnectionList{Reported: lenient.Some(2.0)}, nil},
		{"total_count", `0`, ConnectionList{Reported: lenient.Some(0.0)}, nil},
		{"total_count", `1e15`, ConnectionList{Reported: lenient.Some(1e15)}, nil},
		{"total_count", `null`, ConnectionList{}, nil},
		{"total_count", `""`, ConnectionList{}, nil},
		{"total_count", `-1`, ConnectionList{}, map[string]int{"total_count": 1}},
		{"total_count", `"-1"`, ConnectionList{}, map[string]int{"total_count": 1}},
		{"total_count", `1.5`, ConnectionList{}, map[string]int{"total_count": 1}},
		{"total_count", `"many"`, ConnectionList{}, map[string]int{"total_count": 1}},
		{"total_count", `1e999`, ConnectionList{}, map[string]int{"total_count": 1}},
		{"total_count", `[]`, ConnectionList{}, map[string]int{"total_count": 1}},
		{"total_count", `true`, ConnectionList{}, map[string]int{"total_count": 1}},
		{"total_count\": 1, \"total_count", `2`, ConnectionList{Reported: lenient.Some(2.0)}, nil},
		{"something_new", `{"total_count":9,"connections":[{"id":"x"}]}`, ConnectionList{}, nil},
		{"Total_Count", `9`, ConnectionList{}, nil},
	} {
		t.Run(fmt.Sprintf("%.30s=%.40s", test.field, test.value), func(t *testing.T) {
			test.want.Enabled, test.want.Unparsable = true, test.odd
			test.want.Connections = []Connection{{ID: "c1"}}
			compare(t, MustParse(t, `{"`+test.field+`":`+test.value+`,"connections":[{"id":"c1"}]}`), &test.want)
			compare(t, MustParse(t, `{"connections":[{"id":"c1"}],"`+test.field+`":`+test.value+`}`), &test.want)
		})
	}
}

func TestParseIDs(t *testing.T) {
	long := strings.Repeat("x", 200_000)
	list := MustParse(t, `{"connections":[{"id":7},{"id":null,"vpcepIp":"1"},{"vpcepIp":"2"},{"id":""},{"id":"`+long+`"},{"id":{}}]}`)
	compare(t, list, &ConnectionList{
		Enabled: true, Unparsable: map[string]int{"id": 1},
		Connections: []Connection{{ID: "7"}, {IP: "1"}, {IP: "2"}, {}, {ID: long[:1024]}, {}},
	})
}

// TestIdentity: connections without an ID are the same only if all fields are.
func TestIdentity(t *testing.T) {
	base := Connection{Status: StatusAccepted, IP: "1", SpecificationName: "a", CreatedAt: utc(2024, 1, 1, 0, 0, 0, 0)}
	same := base
	if base.Identity() != same.Identity() {
		t.Error("one connection has two identities")
	}
	for name, change := range map[string]func(*Connection){
		"status":        func(c *Connection) { c.Status = StatusRejected },
		"ip":            func(c *Connection) { c.IP = "2" },
		"ipv6":          func(c *Connection) { c.IPv6 = "2" },
		"dns":           func(c *Connection) { c.DNSName = "2" },
		"domain":        func(c *Connection) { c.DomainID = "2" },
		"created":       func(c *Connection) { c.CreatedAt = utc(2024, 1, 1, 0, 0, 1, 0) },
		"updated":       func(c *Connection) { c.UpdatedAt = utc(2024, 1, 1, 0, 0, 1, 0) },
		"sessions":      func(c *Connection) { c.MaxSessions = lenient.Some(1.0) },
		"specification": func(c *Connection) { c.SpecificationName = "b" },
	} {
		other := base
		change(&other)
		if base.Identity() == other.Identity() {
			t.Errorf("another %s: got the same identity", name)
		}
	}
}

func TestParseValidAndInvalidBodies(t *testing.T) {
	for body, listed := range map[string]int{
		`{"connections":[]}`:                        0,
		`{"connections":null}`:                      0,
		`{"connections":null,"total_count":0}`:      0,
		`{"total_count":0}`:                         0,
		`{"total_count":3}`:                         0,
		`{"connections":[{"id":"a"},{"id":"a"}]}`:   2, // dropped where the pages are put together
		`{"\u0063onnections":[{"id":"a"}]}`:         1,
		`{"connections":[{"id":"a"}],"":{"":[{}]}}`: 1,
		`{"connections":[{"id":"a","id":"b"}]}`:     1,
	} {
		if list := MustParse(t, body); len(list.Connections) != listed {
			t.Errorf("%s: %d connections, want %d", body, len(list.Connections), listed)
		}
		if list := MustParse(t, " \r\n\t"+body+"\n "); len(list.Connections) != listed {
			t.Errorf("%s in white space: %d connections, want %d", body, len(list.Connections), listed)
		}
	}
	for _, body := range []string{
		"", " ", "\n", "{}", "[]", "null", "true", "0", `""`, `"connections"`, "[{}]", `[{"connections":[]}]`,
		"<html><body>502</body></html>", "not json", "{", "}", `{"connections"`, `{"connections":`, `{"connections":[`,
		`{"connections":[{`, `{"connections":[{}`, `{"connections":[{}]`, `{"connections":[{"id":"a`, `{"connections":[]}}`,
		`{"connections":[]}{}`, `{"connections":[]} x`, `{"connections":[]},`, `{"connections":[],}`, `{"connections":[{},]}`,
		`{"connections":[{} {}]}`, `{'connections':[]}`, `{connections:[]}`, `{"connections":[]/**/}`, "\ufeff{\"connections\":[]}",
		`{"connections":{}}`, `{"connections":{"id":"a"}}`, `{"connections":"x"}`, `{"connections":""}`, `{"connections":0}`,
		`{"connections":true}`, `{"connections":[null]}`, `{"connections":["a"]}`, `{"connections":[[]]}`, `{"connections":[1]}`,
		`{"connections":[{"id":"a"},null,{"id":"b"}]}`, `{"total_count":null}`, `{"total_count":""}`, `{"total_count":"x"}`,
		`{"total_count":-1}`, `{"total_count":[]}`, `{"total_count":1.5}`,
		`{"errCode":"CSS.0015","externalMessage":"no"}`, `{"message":"ok"}`, `{"connections":[{"maxSession":01}]}`,
		`{"connections":[{"maxSession":NaN}]}`, "{\"connections\":[{\"id\":\"a\x00\"}]}", "{\"connections\":[{\"id\":\"a\nb\"}]}",
		`{"connections":[{"id":"\x"}]}`, `{"connections":[{"id":"\u12"}]}`, "\x00", "\x1f\x8b\x08",
		`{"connections":` + strings.Repeat("[", 100_000), strings.Repeat(`{"a":`, 100_000),
		`{"x":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `,"connections":[]}`,
	} {
		list, err := parseConnections([]byte(body))
		if err == nil {
			t.Errorf("%.80q: got %+v, want an error", body, list)
			continue
		}
		if text := err.Error(); len(text) > 100 || (len(body) > 6 && strings.Contains(text, body[:6])) {
			t.Errorf("%.80q: the error quotes the body: %s", body, text)
		}
	}
}

func TestPermissionDomain(t *testing.T) {
	for text, want := range map[string]struct {
		id       string
		ok       bool
		wildcard bool
	}{
		"iam:domain::abc":              {"abc", true, false},
		"iam:domain::*":                {"*", true, true},
		"*":                            {"*", true, true},
		" * ":                          {"*", true, true},
		"iam:domain::abc ":             {"abc", true, false},
		"iam:domain::":                 {"", false, false},
		"":                             {"", false, false},
		"abc":                          {"abc", false, false},
		"organizations:orgPath::o/r/*": {"organizations:orgPath::o/r/*", false, false},
		"iam:domain::**":               {"**", true, false},
	} {
		p := Permission{Text: text}
		id, ok := p.Domain()
		if ok != want.ok || (ok && id != want.id) || p.Wildcard() != want.wildcard {
			t.Errorf("%q: %q, %v, wildcard %v; want %+v", text, id, ok, p.Wildcard(), want)
		}
	}
}

// TestParsingIsBounded: a body of the maximum size does not cost many times its size, whatever it holds.
func TestParsingIsBounded(t *testing.T) {
	const most = 400 << 20 // of RSS, for the whole process
	fill := func(prefix, element, suffix string) []byte {
		n := (16<<20 - len(prefix) - len(suffix)) / (len(element) + 1)
		return []byte(prefix + strings.Repeat(element+",", n-1) + element + suffix)
	}
	for name, parse := range map[string]func() error{
		"connections": func() error {
			_, err := parseConnections(fill(`{"connections":[`, `{}`, `]}`))
			return err
		},
		"permissions": func() error {
			_, err := parseConnections(fill(`{"connections":[],"permissions":[`, `0`, `]}`))
			return err
		},
		"clusters": func() error {
			_, err := parseClusters(fill(`{"clusters":[`, `0`, `]}`))
			return err
		},
		"tags": func() error {
			_, err := parseClusters(fill(`{"clusters":[{"id":"a","tags":[`, `{}`, `]}]}`))
			return err
		},
		"tags of many clusters": func() error {
			_, err := parseClusters(fill(`{"clusters":[`, `{"tags":[`+strings.Repeat("{},", 90_000)+`{}]}`, `]}`))
			return err
		},
		"skipped": func() error {
			_, err := parseConnections(fill(`{"connections":[],"x":[`, `{}`, `]}`))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			runtime.GC()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := parse()
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > most/2 {
				t.Errorf("%d MiB were allocated for a body of 16 MiB (error %v)", used>>20, err)
			}
		})
	}
}
