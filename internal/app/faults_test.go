// SPDX-License-Identifier: Apache-2.0

package app

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"

	"github.com/google/go-cmp/cmp"
)

// summary returns a cluster's counts that are not 0, sorted by name.
func summary(series map[string]float64) string {
	if series["up"] != 1 {
		return "down"
	}
	if enabled, ok := series["enabled"]; !ok || enabled != 1 {
		return "off"
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(series)) {
		status, counts := strings.CutPrefix(name, "connections ")
		switch value := strconv.FormatFloat(series[name], 'g', -1, 64); {
		case counts && value != "0":
			out = append(out, status+" "+value)
		case name == "reported_connections":
			out = append(out, "reported "+value)
		case name == "connections_truncated" && value != "0":
			out = append(out, "truncated")
		}
	}
	return strings.Join(out, ", ")
}

// scenario is a cluster with faults and its expected summary, or the reason for which it is down.
type scenario struct {
	name     string
	want     string // summary; empty: down
	reason   string
	requests int // negative: 2 to -requests; 0: any, because net/http may resend the request
	faults   []simulator.Fault
	cluster  func(*simulator.Cluster)
}

// body returns a scenario with one response body.
func body(name, want, reason, content string) scenario {
	return scenario{name: name, want: want, reason: reason, requests: 1, faults: []simulator.Fault{{Body: content}}}
}

// fault returns a scenario with one fault.
func fault(name, want, reason string, requests int, f simulator.Fault) scenario {
	return scenario{name: name, want: want, reason: reason, requests: requests, faults: []simulator.Fault{f}}
}

const (
	whole = "accepted 2, rejected 1, reported 3" // of threeConnections
	empty = "reported 0"
)

func scenarios(elsewhere string) []scenario {
	const forever = time.Hour
	return slices.Concat([]scenario{ // the slow ones first, where they block most
		// Time.
		fault("hang", "", "timeout", 1, simulator.Fault{Hang: true}),
		fault("late", "", "timeout", 1, simulator.Fault{Latency: forever}),
		fault("somewhat-late", whole, "", 1, simulator.Fault{Latency: 100 * time.Millisecond}),
		fault("header-slow", "", "timeout", 1, simulator.Fault{SlowHeader: 100 * time.Millisecond}),
		fault("trickle", "", "timeout", 1, simulator.Fault{Trickle: 100 * time.Millisecond}),
		fault("trickle-endless", "", "timeout", 1, simulator.Fault{Trickle: time.Millisecond, Endless: true}),
		fault("trickle-of-an-error", "", "timeout", 1, simulator.Fault{Status: 500, Body: "<html>", Trickle: time.Second}),
		fault("trickle-short", empty, "", 1, simulator.Fault{Trickle: 2 * time.Millisecond, Body: `{"connections":[],"total_count":0}`}),
		// The wire.
		fault("drop", "", "transport", 0, simulator.Fault{Drop: true}),
		fault("drop-once", whole, "", 0, simulator.Fault{Drop: true, For: 1}),
		fault("cut", "", "transport", -4, simulator.Fault{CutAfter: 20}),
		fault("cut-once", whole, "", 2, simulator.Fault{CutAfter: 20, For: 1}),
		fault("garbage", "", "transport", 0, simulator.Fault{Garbage: "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"}),
		fault("garbage-once", whole, "", 0, simulator.Fault{Garbage: "\x15\x03\x01\x00\x02\x02\x46", For: 1}),
		fault("garbage-endless", "", "transport", 0, simulator.Fault{Garbage: "\x00\xff\xfe", Endless: true}),
		fault("header-endless", "", "transport", 0, simulator.Fault{Garbage: "HTTP/1.1 200 OK\r\nX-A: b\r\n", Endless: true}),
		fault("header-oversized", "", "transport", 0, simulator.Fault{HeaderBytes: 1 << 20}),
		fault("header-large", whole, "", 1, simulator.Fault{HeaderBytes: 100 << 10}),
		// Size.
		fault("endless-error", "", "server", 1, simulator.Fault{Status: 500, Body: "<html>", Endless: true}),
		fault("large", whole, "", 1, simulator.Fault{Padding: 1 << 20}),
		fault("gzip", whole, "", 1, simulator.Fault{Gzip: true}),
		fault("gzip-bomb-of-an-error", "", "denied", 1, simulator.Fault{Status: 403, Body: "{}", Gzip: true, Padding: 1 << 30}),
		fault("gzip-cut", "", "transport", -4, simulator.Fault{Gzip: true, CutAfter: 20}),
		fault("gzip-invalid", "", "decode", 1, simulator.Fault{Header: http.Header{"Content-Encoding": {"gzip"}}}),
		fault("encoding-unknown", "", "decode", 1, simulator.Fault{Body: "\x1b\x07\x00", Header: http.Header{"Content-Encoding": {"br"}}}),
		// Redirects.
		fault("redirect", "", "invalid", 1, simulator.Fault{Redirect: elsewhere}),
		fault("redirect-kept-method", "", "invalid", 1, simulator.Fault{Redirect: elsewhere, Status: 308}),
		fault("redirect-loop", "", "invalid", 1, simulator.Fault{Redirect: "?limit=1000"}),
		fault("redirect-without-location", "", "invalid", 1, simulator.Fault{Status: 302}),
		fault("redirect-invalid", "", "invalid", 1, simulator.Fault{Redirect: "http://[::1/%zz"}),
	}, statusScenarios(), pageScenarios(), bodyScenarios())
}

// largeScenarios returns scenarios that take CPU time, and so could delay the others.
func largeScenarios() []scenario {
	return []scenario{
		fault("endless", "", "decode", 1, simulator.Fault{Endless: true}),
		fault("too-large", "", "decode", 1, simulator.Fault{Padding: 17 << 20}),
		fault("gzip-bomb", "", "decode", 1, simulator.Fault{Gzip: true, Padding: 1 << 30}),
		fault("gzip-endless", "", "decode", 1, simulator.Fault{Gzip: true, Endless: true}),
	}
}

func statusScenarios() []scenario {
	soon := http.Header{"Retry-After": {"0"}}
	later := http.Header{"Retry-After": {"60"}}
	tomorrow := http.Header{"Retry-After": {time.Now().Add(24 * time.Hour).UTC().Format(http.TimeFormat)}}
	past := http.Header{"Retry-After": {"Thu, 01 Jan 1970 00:00:00 GMT"}}
	const html = "<html><body><h1>502 Bad Gateway</h1></body></html>"
	return []scenario{
		fault("500", "", "server", 1, simulator.Fault{Status: 500}),
		fault("500-html", "", "server", 1, simulator.Fault{Status: 500, Body: html}),
		fault("501", "", "server", 1, simulator.Fault{Status: 501}),
		fault("502", "", "server", -4, simulator.Fault{Status: 502, Body: html}),
		fault("503", "", "server", -4, simulator.Fault{Status: 503, Header: soon}),
		fault("503-later", "", "server", 1, simulator.Fault{Status: 503, Header: tomorrow}),
		fault("503-once", whole, "", 2, simulator.Fault{Status: 503, For: 1}),
		fault("504-past", whole, "", 3, simulator.Fault{Status: 504, For: 2, Header: past}),
		fault("429", "", "throttled", -4, simulator.Fault{Status: 429, Body: `{"error_code":"APIGW.0308","error_msg":"throttled"}`}),
		fault("429-later", "", "throttled", 1, simulator.Fault{Status: 429, Header: later}),
		fault("429-tomorrow", "", "throttled", 1, simulator.Fault{Status: 429, Header: tomorrow}),
		fault("429-once", whole, "", 2, simulator.Fault{Status: 429, For: 1, Header: soon}),
		fault("400", "", "invalid", 1, simulator.Fault{Status: 400, Body: `{"errCode":"CSS.0001","externalMessage":"Incorrect parameters."}`}),
		fault("400-off", "off", "", 1, simulator.Fault{Status: 400, Body: `{"errCode":"CSS.5182","externalMessage":"The VPC endpoint service is not enabled."}`}),
		fault("400-denied", "", "denied", 1, simulator.Fault{Status: 400, Body: `{"errCode":"CSS.0051"}`}),
		fault("400-rejected", "", "denied", 1, simulator.Fault{Status: 400, Body: `{"errCode":"CSS.5313"}`}),
		fault("500-off", "", "server", 1, simulator.Fault{Status: 500, Body: `{"errCode":"CSS.5182"}`}),
		fault("200-off", "", "decode", 1, simulator.Fault{Status: 200, Body: `{"errCode":"CSS.5182"}`}),
		fault("403", "", "denied", 1, simulator.Fault{Status: 403}),
		fault("404", "", "not_found", 1, simulator.Fault{Status: 404, Body: "404 page not found\n"}),
		fault("409", "", "invalid", 1, simulator.Fault{Status: 409}),
		fault("412", "", "invalid", 1, simulator.Fault{Status: 412}),
		fault("204", "", "invalid", 1, simulator.Fault{Status: 204}),
		fault("206", "", "invalid", 1, simulator.Fault{Status: 206, Body: `{"connections":[],"total_count":0}`}),
		fault("304", "", "invalid", 1, simulator.Fault{Status: 304}),
		fault("418-newlines", "", "invalid", 1, simulator.Fault{Status: 418, Body: `{"error_code":"a\nb","error_msg":"x\r\nlevel=info msg=forged","request_id":"\u0000"}`}),
		{name: "missing", reason: "denied", requests: 1},
		{name: "switched-off", want: "off", requests: 1, cluster: func(c *simulator.Cluster) { c.ServiceOff = true }},
	}
}

func bodyScenarios() []scenario {
	const connection = `{"id":"a","status":"accepted","maxSession":"3000","domain_id":"d"}`
	return []scenario{
		fault("empty-200", "", "decode", 1, simulator.Fault{Status: 200}),
		body("html", "", "decode", "<html><body>Please log in</body></html>"),
		body("no-answer", "", "decode", `{}`),
		body("null-body", "", "decode", `null`),
		body("list", "", "decode", `[`+connection+`]`),
		body("half", "", "decode", `{"total_count":1,"connections":[`+connection),
		body("two", "", "decode", `{"connections":[],"total_count":0}{"connections":[],"total_count":0}`),
		body("byte-order-mark", "", "decode", "\ufeff"+`{"connections":[],"total_count":0}`),
		body("deep", "", "decode", `{"connections":[],"x":`+strings.Repeat("[", 100_000)),
		body("text-for-list", "", "decode", `{"connections":"none","total_count":0}`),
		body("texts-for-connections", "", "decode", `{"connections":["a"],"total_count":1}`),
		body("null-list", empty, "", `{"connections":null,"total_count":0}`),
		body("null-list-of-some", "reported 2, truncated", "", `{"connections":null,"total_count":2}`),
		body("no-total", "accepted 1", "", `{"connections":[`+connection+`]}`).twoCalls(),
		body("negative-total", "accepted 1", "", `{"connections":[`+connection+`],"total_count":-5}`).twoCalls(),
		body("fraction-of-a-total", "accepted 1", "", `{"connections":[`+connection+`],"total_count":1.5}`).twoCalls(),
		body("text-for-total", "accepted 1, reported 1", "", `{"connections":[`+connection+`],"total_count":"1"}`),
		{name: "absurd-total", want: "accepted 1, reported 1e+300, truncated", requests: 2,
			faults: []simulator.Fault{{Body: `{"connections":[` + connection + `],"total_count":1e300}`}}},
		body("letter-cases", "accepted 2, pendingAcceptance 1, unknown 2, reported 5", "", `{"connections":[{"id":"1","status":"ACCEPTED"},`+
			`{"id":"2","status":" Accepted "},{"id":"3","status":"PENDINGACCEPTANCE"},{"id":"4","status":"frozen"},{"id":"5"}],"total_count":5}`),
		body("mistyped-values", "accepted 7, reported 7", "", `{"connections":[{"id":1,"status":"accepted","maxSession":3000},`+
			`{"id":"2","status":"accepted","maxSession":"NaN"},{"id":"3","status":"accepted","maxSession":"1e999"},`+
			`{"id":"4","status":"accepted","maxSession":[1],"created_at":"yesterday"},{"id":"5","status":"accepted","maxSession":"","update_at":7},`+
			`{"id":"6","status":"accepted","maxSession":null,"created_at":null},{"id":"7","status":"accepted","maxSession":-1,"created_at":"9999-99-99T99:99:99Z"}],`+
			`"total_count":7,"vpcepUpdateSwitch":"maybe","permissions":"all","vpcServiceName":{"a":1}}`),
		body("hostile-texts", "accepted 3, reported 3", "", `{"connections":[{"id":"\"} 1\ncss_vpcep_up 1\n","status":"accepted"},`+
			`{"id":"`+"\xff\xfe\xc3"+`","status":"accepted","domain_id":"\u0000\u001b[31m\ud800"},`+
			`{"id":"3","status":"accepted","vpcepDnsName":"`+strings.Repeat("ü", 100_000)+`"}],"total_count":3,"vpcServiceName":"a\\\"\n`+strings.Repeat("x", 200_000)+`"}`),
		body("same-after-the-cut", "accepted 1, reported 2, truncated", "", `{"connections":[{"id":"`+strings.Repeat("x", 1500)+`1","status":"accepted"},`+
			`{"id":"`+strings.Repeat("x", 1500)+`2","status":"accepted"}],"total_count":2}`).twoCalls(),
		body("repeated", "accepted 1, reported 1", "", `{"connections":[`+connection+`,`+connection+`,`+connection+`],"total_count":1}`),
		body("no-ids", "accepted 1, rejected 1, reported 2", "", `{"connections":[{"status":"accepted"},{"status":"rejected"}],"total_count":2}`),
		fault("called-html", whole, "", 1, simulator.Fault{Header: http.Header{"Content-Type": {"text/html; charset=gbk"}}}),
	}
}

func pageScenarios() []scenario {
	capped := simulator.Fault{PageCap: 2, For: 1} // for the first page
	return []scenario{
		fault("pages", whole, "", 3, simulator.Fault{PageCap: 1}),
		fault("pages-repeat", whole, "", 1, simulator.Fault{RepeatIDs: true}),
		fault("offset-ignored", "accepted 2, reported 3, truncated", "", 2, simulator.Fault{PageCap: 2, IgnoreOffset: true}),
		{name: "unlisted", want: "accepted 2, rejected 1, reported 8, truncated", requests: 2, cluster: func(c *simulator.Cluster) { c.Unlisted = 5 }},
		{name: "page-rejected", want: "accepted 2, reported 3, truncated", requests: 2,
			faults: []simulator.Fault{capped, {After: 1, Status: 400, Body: `{"errCode":"CSS.0001"}`}}},
		{name: "page-rejected-no-total", want: "accepted 1, truncated", requests: 2, faults: []simulator.Fault{
			{Body: `{"connections":[{"id":"a","status":"accepted"}]}`, For: 1}, {After: 1, Status: 400, Body: `{"errCode":"CSS.0001"}`}}},
		{name: "page-fails", reason: "server", requests: 2, faults: []simulator.Fault{capped, {After: 1, Status: 500}}},
		{name: "page-denied", reason: "denied", requests: 2, faults: []simulator.Fault{capped, {After: 1, Status: 403}}},
		{name: "page-garbled", reason: "decode", requests: 2, faults: []simulator.Fault{capped, {After: 1, Body: "{"}}},
		{name: "page-cut", reason: "transport", requests: -5, faults: []simulator.Fault{capped, {After: 1, CutAfter: 9}}},
		{name: "page-throttled-once", want: whole, requests: 3, faults: []simulator.Fault{capped, {After: 1, For: 1, Status: 429}}},
		{name: "page-hangs", reason: "timeout", requests: 2, faults: []simulator.Fault{capped, {After: 1, Hang: true}}},
	}
}

// twoCalls expects two requests.
func (s scenario) twoCalls() scenario {
	s.requests = 2
	return s
}

// threeConnections returns a valid cluster.
func threeConnections(id string) simulator.Cluster {
	c := simulator.Cluster{ID: id, Status: "200", ServiceName: simulator.Text("service of " + id), UpdateSwitch: "false",
		Permissions: []simulator.Permission{{ID: "1", Permission: "iam:domain::d1", Type: "domainId"}}}
	for i, status := range []string{"accepted", "rejected", "accepted"} {
		c.Connections = append(c.Connections, simulator.Connection{
			ID: fmt.Sprintf("%s-%d", id, i), Status: status, MaxSession: simulator.Text("3000"), Specification: "default",
			IP: "192.168.0.1", CreatedAt: simulator.Text("2024-06-11T09:36:24Z"), DomainID: "d1",
		})
	}
	slices.SortStableFunc(c.Connections, func(a, b simulator.Connection) int { return strings.Compare(a.Status, b.Status) })
	return c
}

// TestFaults scrapes all scenarios at once: each failing cluster is down for its reason, and the healthy ones are
// unaffected.
func TestFaults(t *testing.T) {
	var followed atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	defer elsewhere.Close()
	all := scenarios(elsewhere.URL)
	if len(all) < 40 {
		t.Fatalf("%d scenarios", len(all))
	}
	runScenarios(t, 3*time.Second, all)
	if n := followed.Load(); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

// TestLargeFaults scrapes responses that must not be read to their end.
func TestLargeFaults(t *testing.T) { runScenarios(t, 20*time.Second, largeScenarios()) }

// addScenarios adds the clusters of the scenarios, with healthy ones at the start, in the middle and at the end. It
// returns the IDs of all and of the healthy ones.
func addScenarios(cloud *simulator.Simulator, project string, all []scenario) (ids, healthy []string) {
	healthy = []string{"healthy-1", "healthy-2", "healthy-3"}
	for _, id := range healthy {
		cloud.AddCluster(project, threeConnections(id))
	}
	for i, sc := range all {
		if i == len(all)/2 {
			ids = append(ids, healthy[1])
		}
		ids = append(ids, sc.name)
		if sc.name == "missing" {
			continue
		}
		c := threeConnections(sc.name)
		if sc.cluster != nil {
			sc.cluster(&c)
		}
		cloud.AddCluster(project, c)
	}
	return slices.Concat(healthy[:1], ids, healthy[2:]), healthy
}

// runScenarios scrapes all scenarios at once.
func runScenarios(t *testing.T, timeout time.Duration, all []scenario) {
	t.Helper()
	cloud, url := faultyCloud(t, 1, "faulty", "rejected")
	ids, healthy := addScenarios(cloud, "faulty", all)
	rejected := []string{"rejected-1", "rejected-2", "rejected-3", "rejected-4", "rejected-5", "rejected-6"}
	for _, id := range rejected {
		cloud.AddCluster("rejected", threeConnections(id))
		cloud.SetFault(simulator.Target{Endpoint: simulator.Connections, ID: id},
			simulator.Fault{Status: 401, Body: `{"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information: verify aksk signature fail"}`})
	}
	header := strconv.FormatFloat(timeout.Seconds(), 'f', -1, 64)

	// The first scrape has no faults but the rejected key, so that no faulty cluster is the one that tries the valid key.
	p := start(t, "--config.file="+faultyFile(t, url, "{}", map[string][]string{"faulty": ids, "rejected": rejected}))
	before, own, _ := p.scrape(t, header)
	rejections := requests(cloud, rejected)
	cloud.ForgetRequests()
	for _, sc := range all {
		cloud.SetFault(simulator.Target{Endpoint: simulator.Connections, ID: sc.name}, sc.faults...)
	}
	first := failures(own)

	clusters, own, took := p.scrape(t, header)
	if took >= timeout {
		t.Errorf("the scrape took %v", took)
	}
	if len(clusters) != len(ids)+len(rejected) {
		t.Errorf("%d clusters, want %d", len(clusters), len(ids)+len(rejected))
	}
	reasons := maps.Clone(first)
	reasons["auth"] += len(rejected)
	for _, sc := range all {
		if sc.reason != "" {
			reasons[sc.reason]++
		}
		sc.check(t, clusters[sc.name], requests(cloud, []string{sc.name}), p.log.String())
	}
	if diff := cmp.Diff(reasons, failures(own)); diff != "" {
		t.Errorf("failures by reason (-want +got):\n%s", diff)
	}
	if rejections += requests(cloud, rejected); rejections < 1 || rejections > 4 {
		t.Errorf("%d requests with a rejected key", rejections)
	}
	for _, id := range rejected {
		if !isDown(clusters[id]) {
			t.Errorf("%s is not down: %v", id, clusters[id])
		}
	}
	for _, id := range healthy {
		for _, series := range []map[string]float64{before[id], clusters[id]} {
			delete(series, "scrape_duration_seconds")
			delete(series, "last_success_timestamp_seconds")
		}
		if diff := cmp.Diff(before[id], clusters[id]); diff != "" || summary(clusters[id]) != whole {
			t.Errorf("%s before (-) and with the faults (+), %s:\n%s", id, summary(clusters[id]), diff)
		}
	}
	p.eventually(t, "no request is in flight", func() bool { return cloud.InFlight() == 0 })
	if log := p.log.String(); strings.Contains(log, "AK-of-the-test") || strings.Contains(log, "SK-of-the-test") || strings.Contains(log, "\nlevel=info msg=forged") {
		t.Error("the log contains a secret or a forged line")
	}
}

// requests returns the number of requests for the clusters.
func requests(cloud *simulator.Simulator, ids []string) (requests int) {
	for _, id := range ids {
		requests += cloud.Count(simulator.Target{Endpoint: simulator.Connections, ID: id})
	}
	return requests
}

// check compares the series of a scenario's cluster and the number of its requests with the expectation.
func (s scenario) check(t *testing.T, series map[string]float64, requests int, log string) {
	t.Helper()
	switch {
	case s.reason == "":
		if got := summary(series); sorted(got) != sorted(s.want) {
			t.Errorf("%s: %s, want %s", s.name, got, s.want)
		}
	case !isDown(series):
		t.Errorf("%s: not down: %v", s.name, series)
	case !strings.Contains(log, "cluster_id="+s.name+" cluster_name= reason="+s.reason+" "):
		t.Errorf("%s: not logged with reason %s:\n%s", s.name, s.reason, linesWith(log, "cluster_id="+s.name+" "))
	}
	if s.requests > 0 && requests != s.requests || s.requests < 0 && (requests < 2 || requests > -s.requests) {
		t.Errorf("%s: %d requests, want %d", s.name, requests, s.requests)
	}
}

// isDown reports whether the series are exactly those of a failed cluster.
func isDown(series map[string]float64) bool {
	up, ok := series["up"]
	return ok && up == 0 && slices.Equal(slices.Sorted(maps.Keys(series)), []string{"cluster_info", "scrape_duration_seconds", "up"})
}

// sorted returns a summary with its parts sorted.
func sorted(summary string) string {
	return strings.Join(slices.Sorted(strings.SplitSeq(summary, ", ")), ", ")
}

func linesWith(text, part string) string {
	var out []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}
