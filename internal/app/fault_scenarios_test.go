// SPDX-License-Identifier: Apache-2.0

package app

import (
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

// scenario is a cluster with faults, and how the program must show it.
type scenario struct {
	name    string // also the cluster's ID
	summary string // if the cluster is up
	reason  string // if it is down
	faults  []simulator.Fault
	change  func(*simulator.Cluster) // of a cluster of withThreeConnections

	minRequests, maxRequests int
}

// shows returns a scenario in which one request suffices to show the cluster with this summary.
func shows(name, summary string, faults ...simulator.Fault) scenario {
	return scenario{name: name, summary: summary, faults: faults, minRequests: 1, maxRequests: 1}
}

// fails returns a scenario in which one request suffices to fail for the reason.
func fails(name, reason string, faults ...simulator.Fault) scenario {
	return scenario{name: name, reason: reason, faults: faults, minRequests: 1, maxRequests: 1}
}

// requests changes the number of requests.
func (s scenario) requests(minimum, maximum int) scenario {
	s.minRequests, s.maxRequests = minimum, maximum
	return s
}

// resent allows any number of requests, because net/http may send them again by itself.
func (s scenario) resent() scenario { return s.requests(1, math.MaxInt) }

func (s scenario) withCluster(change func(*simulator.Cluster)) scenario {
	s.change = change
	return s
}

func body(content string) simulator.Fault { return simulator.Fault{Body: content} }

const (
	whole = "accepted 2, rejected 1, reported 3" // the summary of withThreeConnections
	empty = "reported 0"
)

// scenarios returns all scenarios but the large ones. Those that take the whole scrape come first, where they block
// most. elsewhere is the URL of redirects.
func scenarios(elsewhere string) []scenario {
	return slices.Concat(slowScenarios(), transportScenarios(), sizeScenarios(), redirectScenarios(elsewhere),
		statusScenarios(), pageScenarios(), bodyScenarios())
}

func slowScenarios() []scenario {
	return []scenario{
		fails("hang", "timeout", simulator.Fault{Hang: true}),
		fails("late", "timeout", simulator.Fault{Latency: time.Hour}),
		shows("somewhat-late", whole, simulator.Fault{Latency: 100 * time.Millisecond}),
		fails("header-slow", "timeout", simulator.Fault{SlowHeader: 100 * time.Millisecond}),
		fails("trickle", "timeout", simulator.Fault{Trickle: 100 * time.Millisecond}),
		fails("trickle-endless", "timeout", simulator.Fault{Trickle: time.Millisecond, Endless: true}),
		fails("trickle-of-an-error", "timeout", simulator.Fault{Status: 500, Body: "<html>", Trickle: time.Second}),
		shows("trickle-short", empty,
			simulator.Fault{Trickle: 2 * time.Millisecond, Body: `{"connections":[],"total_count":0}`}),
	}
}

func transportScenarios() []scenario {
	return []scenario{
		fails("drop", "transport", simulator.Fault{Drop: true}).resent(),
		shows("drop-once", whole, simulator.Fault{Drop: true, For: 1}).resent(),
		fails("cut", "transport", simulator.Fault{CutAfter: 20}).requests(2, 4),
		shows("cut-once", whole, simulator.Fault{CutAfter: 20, For: 1}).requests(2, 2),
		fails("garbage", "transport", simulator.Fault{Garbage: "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"}).resent(),
		shows("garbage-once", whole, simulator.Fault{Garbage: "\x15\x03\x01\x00\x02\x02\x46", For: 1}).resent(),
		fails("garbage-endless", "transport", simulator.Fault{Garbage: "\x00\xff\xfe", Endless: true}).resent(),
		fails("header-endless", "transport",
			simulator.Fault{Garbage: "HTTP/1.1 200 OK\r\nX-A: b\r\n", Endless: true}).resent(),
		fails("header-oversized", "transport", simulator.Fault{HeaderBytes: 1 << 20}).resent(),
		shows("header-large", whole, simulator.Fault{HeaderBytes: 100 << 10}),
	}
}

func sizeScenarios() []scenario {
	return []scenario{
		fails("endless-error", "server", simulator.Fault{Status: 500, Body: "<html>", Endless: true}),
		shows("large", whole, simulator.Fault{Padding: 1 << 20}),
		shows("gzip", whole, simulator.Fault{Gzip: true}),
		fails("gzip-bomb-of-an-error", "denied",
			simulator.Fault{Status: 403, Body: "{}", Gzip: true, Padding: 1 << 30}),
		fails("gzip-cut", "transport", simulator.Fault{Gzip: true, CutAfter: 20}).requests(2, 4),
		fails("gzip-invalid", "decode", simulator.Fault{Header: http.Header{"Content-Encoding": {"gzip"}}}),
		fails("encoding-unknown", "decode",
			simulator.Fault{Body: "\x1b\x07\x00", Header: http.Header{"Content-Encoding": {"br"}}}),
	}
}

// largeScenarios returns scenarios that take CPU time and so could delay the others.
func largeScenarios() []scenario {
	return []scenario{
		fails("endless", "decode", simulator.Fault{Endless: true}),
		fails("too-large", "decode", simulator.Fault{Padding: 17 << 20}),
		fails("gzip-bomb", "decode", simulator.Fault{Gzip: true, Padding: 1 << 30}),
		fails("gzip-endless", "decode", simulator.Fault{Gzip: true, Endless: true}),
	}
}

func redirectScenarios(elsewhere string) []scenario {
	return []scenario{
		fails("redirect", "invalid", simulator.Fault{Redirect: elsewhere}),
		fails("redirect-kept-method", "invalid", simulator.Fault{Redirect: elsewhere, Status: 308}),
		fails("redirect-loop", "invalid", simulator.Fault{Redirect: "?limit=1000"}),
		fails("redirect-without-location", "invalid", simulator.Fault{Status: 302}),
		fails("redirect-invalid", "invalid", simulator.Fault{Redirect: "http://[::1/%zz"}),
	}
}

func statusScenarios() []scenario {
	soon := http.Header{"Retry-After": {"0"}}
	tomorrow := http.Header{"Retry-After": {time.Now().Add(24 * time.Hour).UTC().Format(http.TimeFormat)}}
	past := http.Header{"Retry-After": {"Thu, 01 Jan 1970 00:00:00 GMT"}}
	const html = "<html><body><h1>502 Bad Gateway</h1></body></html>"
	return []scenario{
		fails("500", "server", simulator.Fault{Status: 500}),
		fails("500-html", "server", simulator.Fault{Status: 500, Body: html}),
		fails("501", "server", simulator.Fault{Status: 501}),
		fails("502", "server", simulator.Fault{Status: 502, Body: html}).requests(2, 4),
		fails("503", "server", simulator.Fault{Status: 503, Header: soon}).requests(2, 4),
		fails("503-later", "server", simulator.Fault{Status: 503, Header: tomorrow}),
		shows("503-once", whole, simulator.Fault{Status: 503, For: 1}).requests(2, 2),
		shows("504-past", whole, simulator.Fault{Status: 504, For: 2, Header: past}).requests(3, 3),
		fails("429", "throttled",
			simulator.Fault{Status: 429, Body: `{"error_code":"APIGW.0308","error_msg":"throttled"}`}).requests(2, 4),
		fails("400", "invalid",
			simulator.Fault{Status: 400, Body: `{"errCode":"CSS.0001","externalMessage":"Incorrect parameters."}`}),
		shows("400-off", "off", simulator.Fault{
			Status: 400, Body: `{"errCode":"CSS.5182","externalMessage":"The VPC endpoint service is not enabled."}`,
		}),
		fails("400-denied", "denied", simulator.Fault{Status: 400, Body: `{"errCode":"CSS.0051"}`}),
		fails("400-rejected", "denied", simulator.Fault{Status: 400, Body: `{"errCode":"CSS.5313"}`}),
		fails("500-off", "server", simulator.Fault{Status: 500, Body: `{"errCode":"CSS.5182"}`}),
		fails("200-off", "decode", simulator.Fault{Status: 200, Body: `{"errCode":"CSS.5182"}`}),
		fails("403", "denied", simulator.Fault{Status: 403}),
		fails("404", "not_found", simulator.Fault{Status: 404, Body: "404 page not found\n"}),
		fails("409", "invalid", simulator.Fault{Status: 409}),
		fails("412", "invalid", simulator.Fault{Status: 412}),
		fails("204", "invalid", simulator.Fault{Status: 204}),
		fails("206", "invalid", simulator.Fault{Status: 206, Body: `{"connections":[],"total_count":0}`}),
		fails("304", "invalid", simulator.Fault{Status: 304}),
		fails("418-newlines", "invalid", simulator.Fault{
			Status: 418, Body: `{"error_code":"a\nb","error_msg":"x\r\nlevel=info msg=forged","request_id":"\u0000"}`,
		}),
		fails("missing", "denied"),
		shows("switched-off", "off").withCluster(func(c *simulator.Cluster) { c.ServiceOff = true }),
	}
}

// throttledScenarios are run one by one, because a project waits when three of its clusters in a row are throttled.
func throttledScenarios() []scenario {
	soon := http.Header{"Retry-After": {"0"}}
	later := http.Header{"Retry-After": {"60"}}
	tomorrow := http.Header{"Retry-After": {time.Now().Add(24 * time.Hour).UTC().Format(http.TimeFormat)}}
	return []scenario{
		fails("429-later", "throttled", simulator.Fault{Status: 429, Header: later}),
		fails("429-tomorrow", "throttled", simulator.Fault{Status: 429, Header: tomorrow}),
		shows("429-once", whole, simulator.Fault{Status: 429, For: 1, Header: soon}).requests(2, 2),
	}
}

func pageScenarios() []scenario {
	capped := simulator.Fault{PageCap: 2, For: 1} // on the first page
	return []scenario{
		shows("pages", whole, simulator.Fault{PageCap: 1}).requests(3, 3),
		shows("pages-repeat", whole, simulator.Fault{RepeatIDs: true}),
		shows("offset-ignored", "accepted 2, reported 3, truncated",
			simulator.Fault{PageCap: 2, IgnoreOffset: true}).requests(2, 2),
		shows("unlisted", "accepted 2, rejected 1, reported 8, truncated").requests(2, 2).
			withCluster(func(c *simulator.Cluster) { c.Unlisted = 5 }),
		shows("page-rejected", "accepted 2, reported 3, truncated",
			capped, simulator.Fault{After: 1, Status: 400, Body: `{"errCode":"CSS.0001"}`}).requests(2, 2),
		shows("page-rejected-no-total", "accepted 1, truncated",
			simulator.Fault{Body: `{"connections":[{"id":"a","status":"accepted"}]}`, For: 1},
			simulator.Fault{After: 1, Status: 400, Body: `{"errCode":"CSS.0001"}`}).requests(2, 2),
		fails("page-fails", "server", capped, simulator.Fault{After: 1, Status: 500}).requests(2, 2),
		fails("page-denied", "denied", capped, simulator.Fault{After: 1, Status: 403}).requests(2, 2),
		fails("page-garbled", "decode", capped, simulator.Fault{After: 1, Body: "{"}).requests(2, 2),
		fails("page-cut", "transport", capped, simulator.Fault{After: 1, CutAfter: 9}).requests(2, 5),
		shows("page-throttled-once", whole, capped, simulator.Fault{After: 1, For: 1, Status: 429}).requests(3, 3),
		fails("page-hangs", "timeout", capped, simulator.Fault{After: 1, Hang: true}).requests(2, 2),
	}
}

func bodyScenarios() []scenario {
	const connection = `{"id":"a","status":"accepted","maxSession":"3000","domain_id":"d"}`
	long := strings.Repeat("x", 1500)
	return []scenario{
		fails("empty-200", "decode", simulator.Fault{Status: 200}),
		fails("html", "decode", body("<html><body>Please log in</body></html>")),
		fails("no-answer", "decode", body(`{}`)),
		fails("null-body", "decode", body(`null`)),
		fails("list", "decode", body(`[`+connection+`]`)),
		fails("half", "decode", body(`{"total_count":1,"connections":[`+connection)),
		fails("two", "decode", body(`{"connections":[],"total_count":0}{"connections":[],"total_count":0}`)),
		fails("byte-order-mark", "decode", body("\ufeff"+`{"connections":[],"total_count":0}`)),
		fails("deep", "decode", body(`{"connections":[],"x":`+strings.Repeat("[", 100_000))),
		fails("text-for-list", "decode", body(`{"connections":"none","total_count":0}`)),
		fails("texts-for-connections", "decode", body(`{"connections":["a"],"total_count":1}`)),
		shows("null-list", empty, body(`{"connections":null,"total_count":0}`)),
		shows("null-list-of-some", "reported 2, truncated", body(`{"connections":null,"total_count":2}`)),
		shows("no-total", "accepted 1", body(`{"connections":[`+connection+`]}`)).requests(2, 2),
		shows("negative-total", "accepted 1", body(`{"connections":[`+connection+`],"total_count":-5}`)).requests(2, 2),
		shows("fraction-of-a-total", "accepted 1",
			body(`{"connections":[`+connection+`],"total_count":1.5}`)).requests(2, 2),
		shows("text-for-total", "accepted 1, reported 1", body(`{"connections":[`+connection+`],"total_count":"1"}`)),
		shows("absurd-total", "accepted 1, reported 1e+300, truncated",
			body(`{"connections":[`+connection+`],"total_count":1e300}`)).requests(2, 2),
		shows("letter-cases", "accepted 2, pendingAcceptance 1, unknown 2, reported 5",
			body(`{"connections":[{"id":"1","status":"ACCEPTED"},{"id":"2","status":" Accepted "},`+
				`{"id":"3","status":"PENDINGACCEPTANCE"},{"id":"4","status":"frozen"},{"id":"5"}],"total_count":5}`)),
		shows("mistyped-values", "accepted 7, reported 7",
			body(`{"connections":[{"id":1,"status":"accepted","maxSession":3000},`+
				`{"id":"2","status":"accepted","maxSession":"NaN"},`+
				`{"id":"3","status":"accepted","maxSession":"1e999"},`+
				`{"id":"4","status":"accepted","maxSession":[1],"created_at":"yesterday"},`+
				`{"id":"5","status":"accepted","maxSession":"","update_at":7},`+
				`{"id":"6","status":"accepted","maxSession":null,"created_at":null},`+
				`{"id":"7","status":"accepted","maxSession":-1,"created_at":"9999-99-99T99:99:99Z"}],`+
				`"total_count":7,"vpcepUpdateSwitch":"maybe","permissions":"all","vpcServiceName":{"a":1}}`)),
		shows("hostile-texts", "accepted 3, reported 3",
			body(`{"connections":[{"id":"\"} 1\ncss_vpcep_up 1\n","status":"accepted"},`+
				`{"id":"`+"\xff\xfe\xc3"+`","status":"accepted","domain_id":"\u0000\u001b[31m\ud800"},`+
				`{"id":"3","status":"accepted","vpcepDnsName":"`+strings.Repeat("ü", 100_000)+`"}],`+
				`"total_count":3,"vpcServiceName":"a\\\"\n`+strings.Repeat("x", 200_000)+`"}`)),
		shows("same-when-truncated", "accepted 1, reported 2, truncated",
			body(`{"connections":[{"id":"`+long+`1","status":"accepted"},{"id":"`+long+`2","status":"accepted"}],`+
				`"total_count":2}`)).requests(2, 2),
		shows("repeated", "accepted 1, reported 1",
			body(`{"connections":[`+connection+`,`+connection+`,`+connection+`],"total_count":1}`)),
		shows("no-ids", "accepted 1, rejected 1, reported 2",
			body(`{"connections":[{"status":"accepted"},{"status":"rejected"}],"total_count":2}`)),
		shows("called-html", whole, simulator.Fault{Header: http.Header{"Content-Type": {"text/html; charset=gbk"}}}),
	}
}
