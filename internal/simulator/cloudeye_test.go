// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const queryPath = "/V1.0/proj1/batch-query-metric-data"

func sessionsTarget() Target { return Target{Sessions, testProject} }

// metricsOf returns the members of a query for both metrics of the endpoints.
func metricsOf(ids ...string) string {
	var items []string
	for _, id := range ids {
		for _, name := range []string{"vpcep_connections", "vpcep_act_connections"} {
			items = append(items, fmt.Sprintf(
				`{"namespace":"SYS.VPCEP","metric_name":%q,"dimensions":[{"name":"ep_instance_id","value":%q}]}`, name, id))
		}
	}
	return `"metrics":[` + strings.Join(items, ",") + `]`
}

// rangeOf returns the members of a query for the minutes before testNow.
func rangeOf(minutes int) string {
	return fmt.Sprintf(`"from":%d,"to":%d`,
		testNow().Add(-time.Duration(minutes)*time.Minute).UnixMilli(), testNow().UnixMilli())
}

const rawAverages = `"period":"1","filter":"average"`

func queryBody(members ...string) string { return "{" + strings.Join(members, ",") + "}" }

func postQuery(t *testing.T, s *Simulator, body string) *httptest.ResponseRecorder {
	t.Helper()
	return serveResponse(s, signedPost(t, validKey(), s.opts.Now(), queryPath, body))
}

// readings returns the values of each metric, oldest first, such as "e1 vpcep_connections: 03:03=12 03:04=13".
func readings(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var body struct {
		Metrics []struct {
			Name       string                         `json:"metric_name"`
			Dimensions []struct{ Name, Value string } `json:"dimensions"`
			Datapoints []struct {
				Average   json.RawMessage `json:"average"`
				Timestamp int64           `json:"timestamp"`
			} `json:"datapoints"`
		} `json:"metrics"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != http.StatusOK {
		t.Fatalf("got %d %s: %v", w.Code, w.Body, err)
	}
	var lines []string
	for _, m := range body.Metrics {
		var line []string
		for _, d := range m.Dimensions {
			line = append(line, d.Value)
		}
		line = append(line, m.Name+":")
		for _, p := range m.Datapoints {
			line = append(line, time.UnixMilli(p.Timestamp).UTC().Format("15:04")+"="+string(p.Average))
		}
		lines = append(lines, strings.Join(line, " "))
	}
	return strings.Join(lines, "\n")
}

// minuteOf returns sessions that are the minute of the hour, of which a tenth is active.
func minuteOf(at time.Time) (sessions, active float64, ok bool) {
	return float64(at.Minute()), float64(at.Minute()) / 10, true
}

func TestQueryResponse(t *testing.T) {
	s := newTestSimulator(Options{})
	s.SetSessions("e1", minuteOf)
	w := postQuery(t, s, queryBody(metricsOf("e1"), rawAverages, rangeOf(2)))
	const want = `{"metrics":[` +
		`{"namespace":"SYS.VPCEP","metric_name":"vpcep_connections","unit":"Count",` +
		`"dimensions":[{"name":"ep_instance_id","value":"e1"}],` +
		`"datapoints":[{"average":3.0,"timestamp":1767322980000},{"average":4.0,"timestamp":1767323040000}]},` +
		`{"namespace":"SYS.VPCEP","metric_name":"vpcep_act_connections","unit":"Count",` +
		`"dimensions":[{"name":"ep_instance_id","value":"e1"}],` +
		`"datapoints":[{"average":0.3,"timestamp":1767322980000},{"average":0.4,"timestamp":1767323040000}]}]}`
	if diff := cmp.Diff(want, w.Body.String()); diff != "" || w.Code != http.StatusOK {
		t.Errorf("got status %d, body (-want +got):\n%s", w.Code, diff)
	}
}

func TestQueryNeedsASignatureOfItsBody(t *testing.T) {
	s := newTestSimulator(Options{})
	valid := queryBody(metricsOf("e1"), rawAverages, rangeOf(2))
	altered := signedPost(t, validKey(), testNow(), queryPath, valid)
	altered.Body = http.NoBody
	unsigned := signedPost(t, validKey(), testNow(), queryPath, valid)
	unsigned.Header.Del("Authorization")
	for name, tc := range map[string]struct {
		request *http.Request
		want    string
	}{
		"valid":        {signedPost(t, validKey(), testNow(), queryPath, valid), "200"},
		"another body": {altered, "401 APIGW.0301"},
		"unsigned":     {unsigned, "401 APIGW.0305"},
		"unknown key":  {signedPost(t, Key{Access: "x", Secret: "y"}, testNow(), queryPath, valid), "401 APIGW.0303"},
		"wrong project": {
			signedPost(t, validKey(), testNow(), "/V1.0/other/batch-query-metric-data", valid), "403 APIGW.0302"},
		"lower case": {
			signedPost(t, validKey(), testNow(), "/v1.0/proj1/batch-query-metric-data", valid), "404 APIGW.0101"},
	} {
		w := serveResponse(s, tc.request)
		var body struct {
			Code string `json:"error_code"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(strconv.Itoa(w.Code) + " " + body.Code); got != tc.want {
			t.Errorf("%s: got %s, want %s", name, got, tc.want)
		}
	}
}

func TestInvalidQueriesAreRefused(t *testing.T) {
	metrics, minutes := metricsOf("e1"), rangeOf(2)
	metric := func(namespace, name, dimensions string) string {
		return fmt.Sprintf(`"metrics":[{"namespace":%q,"metric_name":%q,"dimensions":[%s]}]`, namespace, name, dimensions)
	}
	dimension := `{"name":"ep_instance_id","value":"e1"}`
	for name, tc := range map[string]struct{ body, details string }{
		"no JSON":             {"query", "not JSON"},
		"no metrics":          {queryBody(rawAverages, minutes), "[metrics]"},
		"empty metrics":       {queryBody(`"metrics":[]`, rawAverages, minutes), "[metrics]"},
		"other case":          {queryBody(strings.ToUpper(metrics), rawAverages, minutes), "[metrics]"},
		"no period":           {queryBody(metrics, `"filter":"average"`, minutes), "[period]"},
		"period is a number":  {queryBody(metrics, `"period":1,"filter":"average"`, minutes), "[period]"},
		"unknown period":      {queryBody(metrics, `"period":"10","filter":"average"`, minutes), "[period]"},
		"no filter":           {queryBody(metrics, `"period":"1"`, minutes), "[filter]"},
		"unknown filter":      {queryBody(metrics, `"period":"1","filter":"mean"`, minutes), "[filter]"},
		"not simulated":       {queryBody(metrics, `"period":"300","filter":"average"`, minutes), "simulator"},
		"no from":             {queryBody(metrics, rawAverages, `"to":1767323045000`), "[from, to]"},
		"no to":               {queryBody(metrics, rawAverages, `"from":1767323045000`), "[from, to]"},
		"from is a text":      {queryBody(metrics, rawAverages, `"from":"1","to":2`), "[from, to]"},
		"from is no integer":  {queryBody(metrics, rawAverages, `"from":1.5,"to":2`), "[from, to]"},
		"from is to":          {queryBody(metrics, rawAverages, `"from":1767323045000,"to":1767323045000`), "[from, to]"},
		"to in microseconds":  {queryBody(metrics, rawAverages, `"from":1767323045000,"to":1767323045000000`), "[from, to]"},
		"no namespace":        {queryBody(metric("", "m", dimension), rawAverages, minutes), "[metrics]"},
		"namespace, no point": {queryBody(metric("VPCEP", "m", dimension), rawAverages, minutes), "[metrics]"},
		"no name":             {queryBody(metric("SYS.VPCEP", "", dimension), rawAverages, minutes), "[metrics]"},
		"long name": {
			queryBody(metric("SYS.VPCEP", strings.Repeat("m", 97), dimension), rawAverages, minutes), "[metrics]"},
		"long namespace": {
			queryBody(metric("SYS."+strings.Repeat("V", 29), "m", dimension), rawAverages, minutes), "[metrics]"},
		"long dimension": {
			queryBody(strings.Replace(metrics, "ep_instance_id", strings.Repeat("d", 33), 1), rawAverages, minutes), "[metrics]"},
		"no dimension": {queryBody(metric("SYS.VPCEP", "m", ""), rawAverages, minutes), "[metrics]"},
		"five dimensions": {queryBody(
			metric("SYS.VPCEP", "m", strings.Repeat(dimension+",", 4)+dimension), rawAverages, minutes), "[metrics]"},
		"empty ID":               {queryBody(metricsOf(""), rawAverages, minutes), "[metrics]"},
		"ID with a blank":        {queryBody(metricsOf("e 1"), rawAverages, minutes), "[metrics]"},
		"ID with a hyphen first": {queryBody(metricsOf("-e1"), rawAverages, minutes), "[metrics]"},
		"long ID":                {queryBody(metricsOf(strings.Repeat("e", 257)), rawAverages, minutes), "[metrics]"},
		"501 metrics":            {queryBody(metricsOf(ids(251)...), rawAverages, minutes), "more than 500"},
		"512 KB":                 {queryBody(metrics, rawAverages, minutes) + strings.Repeat(" ", 512<<10), "512 KB"},
	} {
		s := newTestSimulator(Options{})
		s.SetSessions("e1", minuteOf)
		w := postQuery(t, s, tc.body)
		var body struct {
			HTTPCode int `json:"http_code"`
			Message  struct{ Details, Code string }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Errorf("%s: got body %s: %v", name, w.Body, err)
			continue
		}
		if w.Code != 400 || body.HTTPCode != 400 || body.Message.Code != "ces.0014" ||
			!strings.Contains(body.Message.Details, tc.details) {
			t.Errorf("%s: got %d %s, want 400, ces.0014 and %q", name, w.Code, w.Body, tc.details)
		}
	}
}

func ids(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("e%d", i+1)
	}
	return out
}

func TestFromIsMovedSilently(t *testing.T) {
	for _, tc := range []struct {
		endpoints, minutes int
		want               int // values of each metric
		moved              bool
	}{
		{1, 10, 10, false},
		{150, 10, 10, false}, // the vendor's example
		{150, 11, 10, true},
		{250, 6, 6, false},
		{250, 10, 6, true},
		{1, 1500, 1500, false},
		{1, 1501, 1500, true},
	} {
		s := newTestSimulator(Options{})
		s.SetSessions("e1", minuteOf)
		w := postQuery(t, s, queryBody(metricsOf(ids(tc.endpoints)...), rawAverages, rangeOf(tc.minutes)))
		lines := strings.Split(readings(t, w), "\n")
		if got := strings.Count(lines[0], "="); len(lines) != 2*tc.endpoints || got != tc.want {
			t.Errorf("%d endpoints, %d minutes: got %d metrics, %d values; want %d, %d",
				tc.endpoints, tc.minutes, len(lines), got, 2*tc.endpoints, tc.want)
		}
		r := s.Requests()[0]
		if r.Metrics != 2*tc.endpoints || r.FromMoved != tc.moved {
			t.Errorf("%d endpoints, %d minutes: got record of %d metrics, from moved: %t; want %t",
				tc.endpoints, tc.minutes, r.Metrics, r.FromMoved, tc.moved)
		}
	}
}

func TestCloudEyeOptions(t *testing.T) {
	gaps := func(at time.Time) (sessions, active float64, ok bool) {
		sessions, active, _ = minuteOf(at)
		return sessions, active, at.Minute()%2 == 1
	}
	earlier := func(ms int64) JSON { return JSON(strconv.FormatInt(ms-60_000, 10)) }
	text := func(v float64) JSON { return Text(strconv.FormatFloat(v, 'f', 1, 64)) }
	for name, tc := range map[string]struct {
		eye  CloudEye
		at   sessionsFunc
		want string
	}{
		"default": {CloudEye{}, minuteOf,
			"e1 vpcep_connections: 03:02=2.0 03:03=3.0 03:04=4.0\ne1 vpcep_act_connections: 03:02=0.2 03:03=0.3 03:04=0.4\n" +
				"e2 vpcep_connections:\ne2 vpcep_act_connections:"},
		"gaps": {CloudEye{}, gaps, "e1 vpcep_connections: 03:03=3.0\ne1 vpcep_act_connections: 03:03=0.3\n" +
			"e2 vpcep_connections:\ne2 vpcep_act_connections:"},
		"lag": {CloudEye{Lag: time.Minute}, minuteOf,
			"e1 vpcep_connections: 03:02=2.0 03:03=3.0\ne1 vpcep_act_connections: 03:02=0.2 03:03=0.3\n" +
				"e2 vpcep_connections:\ne2 vpcep_act_connections:"},
		"long lag": {CloudEye{Lag: 10 * time.Minute, OmitEmpty: true}, minuteOf, ""},
		"no entry": {CloudEye{OmitEmpty: true}, gaps, "e1 vpcep_connections: 03:03=3.0\ne1 vpcep_act_connections: 03:03=0.3"},
		"details": {CloudEye{OmitDetails: true, OmitEmpty: true}, gaps,
			"vpcep_connections: 03:03=3.0\nvpcep_act_connections: 03:03=0.3"},
		"reverse": {CloudEye{Reverse: true}, minuteOf, "e2 vpcep_act_connections:\ne2 vpcep_connections:\n" +
			"e1 vpcep_act_connections: 03:04=0.4 03:03=0.3 03:02=0.2\ne1 vpcep_connections: 03:04=4.0 03:03=3.0 03:02=2.0"},
		"text": {CloudEye{OmitEmpty: true, Average: text}, gaps,
			"e1 vpcep_connections: 03:03=\"3.0\"\ne1 vpcep_act_connections: 03:03=\"0.3\""},
		"null": {CloudEye{OmitEmpty: true, Average: func(float64) JSON { return "null" }}, gaps,
			"e1 vpcep_connections: 03:03=null\ne1 vpcep_act_connections: 03:03=null"},
		"timestamps": {CloudEye{OmitEmpty: true, Timestamp: earlier}, gaps,
			"e1 vpcep_connections: 03:02=3.0\ne1 vpcep_act_connections: 03:02=0.3"},
	} {
		s := newTestSimulator(Options{})
		s.SetSessions("e1", tc.at)
		s.SetCloudEye(testProject, tc.eye)
		got := readings(t, postQuery(t, s, queryBody(metricsOf("e1", "e2"), rawAverages, rangeOf(3))))
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestEndpointsWithoutValues(t *testing.T) {
	s := newTestSimulator(Options{})
	s.AddProject(Project{ID: "proj2", Region: "cn-north-9", Keys: []Key{validKey()}})
	s.AddCluster("proj2", Cluster{ID: "c2", Connections: []Connection{{ID: "theirs"}, {ID: "shared"}}})
	s.UpdateCluster(testCluster, func(c *Cluster) {
		c.Connections = []Connection{{ID: "ours"}, {ID: "shared"}, {ID: "silent"}}
	})
	for _, id := range []string{"ours", "theirs", "shared", "removed", "unlisted"} {
		s.SetSessions(id, minuteOf)
	}
	s.SetSessions("removed", nil)
	all := metricsOf("ours", "theirs", "shared", "silent", "removed", "unlisted")
	got := readings(t, postQuery(t, s, queryBody(all, rawAverages, rangeOf(1))))
	for _, id := range []string{"ours", "shared", "unlisted"} {
		if !strings.Contains(got, id+" vpcep_connections: 03:04=4.0") {
			t.Errorf("no value of %s in\n%s", id, got)
		}
	}
	for _, id := range []string{"theirs", "silent", "removed"} {
		if !strings.Contains(got, id+" vpcep_connections:\n") {
			t.Errorf("no empty entry of %s in\n%s", id, got)
		}
	}
}

func TestOtherMetricsHaveNoValues(t *testing.T) {
	s := newTestSimulator(Options{})
	s.SetSessions("e1", minuteOf)
	second := `{"name":"second","value":"e1"}`
	for _, tc := range []struct{ replaced, by string }{
		{"SYS.VPCEP", "SYS.VPC"},
		{"SYS.VPCEP", "sys.vpcep"},
		{"vpcep_", "VPCEP_"},
		{"connections", "bps"},
		{"ep_instance_id", "instance_id"},
		{`"dimensions":[`, `"dimensions":[` + second + ","},
		{`"value":"e1"`, `"value":"E1"`},
	} {
		metrics := strings.ReplaceAll(metricsOf("e1"), tc.replaced, tc.by)
		got := readings(t, postQuery(t, s, queryBody(metrics, rawAverages, rangeOf(1))))
		if strings.Contains(got, "=") || strings.Count(got, "\n") != 1 {
			t.Errorf("%s: got %q, want two metrics without values", tc.by, got)
		}
	}
}

func TestTheRangeIncludesItsEnds(t *testing.T) {
	now := testNow().Truncate(time.Minute)
	s := newTestSimulator(Options{Now: func() time.Time { return now }})
	s.SetSessions("e1", minuteOf)
	ends := fmt.Sprintf(`"from":%d,"to":%d`, now.Add(-2*time.Minute).UnixMilli(), now.UnixMilli())
	got, _, _ := strings.Cut(readings(t, postQuery(t, s, queryBody(metricsOf("e1"), rawAverages, ends))), "\n")
	if want := "e1 vpcep_connections: 03:02=2.0 03:03=3.0 03:04=4.0"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDeniedQueriesAndLowerLimit(t *testing.T) {
	s := newTestSimulator(Options{})
	s.AddProject(Project{ID: "proj2", Region: "cn-north-9", Keys: []Key{validKey()}})
	s.SetCloudEye("proj2", CloudEye{Denied: true})
	s.SetCloudEye(testProject, CloudEye{MaxMetrics: 10})
	body := func(endpoints int) string { return queryBody(metricsOf(ids(endpoints)...), rawAverages, rangeOf(2)) }
	denied := serveResponse(s, signedPost(t, validKey(), testNow(), "/V1.0/proj2/batch-query-metric-data", body(1)))
	const want = `{"http_code":"403","message":{"details":"Policy doesn't allow [ces:metricData:list] to be performed",` +
		`"code":"403"}}`
	if denied.Code != 403 || denied.Body.String() != want {
		t.Errorf("got %d %s, want 403 %s", denied.Code, denied.Body, want)
	}
	if w := postQuery(t, s, body(5)); w.Code != 200 {
		t.Errorf("10 metrics: got %d, want 200", w.Code)
	}
	if w := postQuery(t, s, body(6)); w.Code != 400 || !strings.Contains(w.Body.String(), "more than 10") {
		t.Errorf("12 metrics: got %d %s, want 400", w.Code, w.Body)
	}
}

func TestFaultsAndThrottlesApplyToQueries(t *testing.T) {
	valid := queryBody(metricsOf("e1"), rawAverages, rangeOf(2))
	for name, tc := range map[string]struct {
		prepare func(*Simulator)
		want    string
	}{
		"fault of the project": {func(s *Simulator) { s.SetFault(sessionsTarget(), Fault{Status: 503, For: 1}) }, "503 200"},
		"fault of all": {func(s *Simulator) {
			s.SetFault(Target{Endpoint: Sessions}, Fault{Status: 500, After: 1})
		}, "200 500"},
		"fault of another": {func(s *Simulator) { s.SetFault(Target{Sessions, "proj2"}, Fault{Status: 500}) }, "200 200"},
		"throttled": {func(s *Simulator) {
			s.SetThrottle(sessionsTarget(), Throttle{Limit: 1, Window: time.Minute, RetryAfter: "30"})
		}, "200 429 ces.0429 30"},
		"throttled, all": {func(s *Simulator) {
			s.SetThrottle(Target{Endpoint: Sessions}, Throttle{Limit: 1, Window: time.Minute})
		}, "200 429 ces.0429"},
		"throttled project": {func(s *Simulator) {
			s.SetThrottle(Target{WholeProject, testProject}, Throttle{Limit: 1, Window: time.Minute})
		}, "200 429 APIGW.0308"},
		"throttled clusters": {func(s *Simulator) {
			s.SetThrottle(Target{Clusters, testProject}, Throttle{Limit: 1, Window: time.Minute})
		}, "200 200"},
	} {
		s := newTestSimulator(Options{})
		tc.prepare(s)
		var got []string
		for range 2 {
			w := postQuery(t, s, valid)
			got = append(got, strconv.Itoa(w.Code))
			var body struct {
				Message struct{ Code string } `json:"message"`
				Code    string                `json:"error_code"`
			}
			_ = json.Unmarshal(w.Body.Bytes(), &body) // faults have no body
			got = append(got, strings.Fields(body.Message.Code+body.Code+" "+w.Header().Get("Retry-After"))...)
		}
		if joined := strings.Join(got, " "); joined != tc.want {
			t.Errorf("%s: got %s, want %s", name, joined, tc.want)
		}
		if n := s.Count(sessionsTarget()); n != 2 {
			t.Errorf("%s: got %d requests, want 2", name, n)
		}
	}
}

func TestQueriesAreLimitedTo500AMinute(t *testing.T) {
	var c clock
	s := newTestSimulator(Options{Now: c.now})
	valid := queryBody(metricsOf("e1"), rawAverages, rangeOf(2))
	for range 500 {
		if w := postQuery(t, s, valid); w.Code != 200 {
			t.Fatalf("got %d, want 200", w.Code)
		}
	}
	if w := postQuery(t, s, valid); w.Code != 429 {
		t.Errorf("got %d, want 429", w.Code)
	}
	c.passed = time.Minute
	if w := postQuery(t, s, valid); w.Code != 200 {
		t.Errorf("after a minute: got %d, want 200", w.Code)
	}
}

func TestIncompleteAndRepeatedMetrics(t *testing.T) {
	s := newTestSimulator(Options{})
	valid := queryBody(metricsOf("e1"), rawAverages, rangeOf(2))
	s.SetFault(sessionsTarget(), Fault{PageCap: 1})
	if got := readings(t, postQuery(t, s, valid)); got != "e1 vpcep_connections:" {
		t.Errorf("got %q, want the first metric", got)
	}
	s.SetFault(sessionsTarget(), Fault{RepeatIDs: true})
	want := "e1 vpcep_connections:\ne1 vpcep_act_connections:\ne1 vpcep_connections:"
	if got := readings(t, postQuery(t, s, valid)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMetricQueriesAreCounted(t *testing.T) {
	s := newTestSimulator(Options{})
	s.SetFault(sessionsTarget(), Fault{Status: 500, For: 1})
	postQuery(t, s, queryBody(metricsOf("e1", "e2"), rawAverages, rangeOf(2)))
	postQuery(t, s, queryBody(metricsOf("e1"), rawAverages, rangeOf(2)))
	want := map[Metric]int{
		{MetricSessions, "e1"}: 2, {MetricActiveSessions, "e1"}: 2,
		{MetricSessions, "e2"}: 1, {MetricActiveSessions, "e2"}: 1,
	}
	if diff := cmp.Diff(want, s.MetricQueries()); diff != "" {
		t.Errorf("queries (-want +got):\n%s", diff)
	}
	s.ForgetRequests()
	if got := s.MetricQueries(); len(got) != 0 {
		t.Errorf("after ForgetRequests: got %v, want none", got)
	}
}

func BenchmarkQuery(b *testing.B) {
	s := New(Options{Now: testNow})
	var connections []Connection
	for _, id := range ids(250) {
		s.SetSessions(id, minuteOf)
		connections = append(connections, Connection{ID: id})
	}
	s.AddProject(Project{ID: testProject})
	s.AddCluster(testProject, Cluster{ID: testCluster, Connections: connections})
	body := []byte(queryBody(metricsOf(ids(250)...), rawAverages, rangeOf(6)))
	for b.Loop() {
		if r := s.queryMetrics(testProject, parseQuery(body), Fault{}); r.status != http.StatusOK {
			b.Fatal(r.status)
		}
	}
}
