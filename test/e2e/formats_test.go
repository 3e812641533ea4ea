// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
)

// Prefixes of Content-Types.
const (
	typeText        = "text/plain; version=0.0.4;"
	typeOpenMetrics = "application/openmetrics-text; version=1.0.0;"
	typeProtobuf    = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited;"
)

// nativeMetric is also exposed as a native histogram.
const nativeMetric = "css_vpcep_exporter_api_request_duration_seconds"

// formatJob scrapes /metrics in one format.
type formatJob struct {
	name, contentType string
	feature           string   // of Prometheus
	keys              []string // of the job, in YAML
	accept            string   // replaces the Accept header where Prometheus cannot be configured
	acceptEncoding    string   // default: gzip
	row               string   // of the table, or empty
}

func (j formatJob) ingestsNative() bool {
	return j.feature == featureNative || slices.Contains(j.keys, keyNative)
}

func (j formatJob) ingestsClassic() bool {
	return !j.ingestsNative() || slices.Contains(j.keys, keyClassic)
}

const (
	featureNative = "native-histograms" // Prometheus 3 accepts it, but also needs a key in the job
	featureZstd   = "zstd-scrape"
	keyNative     = "scrape_native_histograms: true"
	keyClassic    = "always_scrape_classic_histograms: true"
)

func (r release) formatJobs() []formatJob {
	const (
		acceptText     = "text/plain;version=0.0.4;q=1,*/*;q=0.1" // as before Prometheus 2.5
		acceptUTF8     = "text/plain;version=0.0.4;escaping=allow-utf-8;q=0.5,*/*;q=0.1"
		acceptProtobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;" +
			"escaping=allow-utf-8;q=0.6,*/*;q=0.1"
	)
	if !r.isV3() {
		return []formatJob{
			{name: "default", contentType: typeOpenMetrics, row: rowDefault},
			{name: "openmetrics", contentType: typeOpenMetrics, row: rowOpen},
			{name: "text", contentType: typeText, accept: acceptText, row: rowText},
			{name: "protobuf", contentType: typeProtobuf, feature: featureNative, row: rowProto},
		}
	}
	const (
		protobuf    = "scrape_protocols: [PrometheusProto]"
		openMetrics = "scrape_protocols: [OpenMetricsText1.0.0]"
		text        = "scrape_protocols: [PrometheusText0.0.4]"
		legacy      = "metric_name_validation_scheme: legacy"
		underscores = "metric_name_escaping_scheme: underscores"
	)
	both := []string{keyNative, keyClassic}
	return []formatJob{
		{name: "default", contentType: typeOpenMetrics, row: rowDefault},
		{name: "openmetrics", contentType: typeOpenMetrics, keys: []string{openMetrics}, row: rowOpen},
		{name: "text", contentType: typeText, keys: []string{text}, row: rowText},
		{name: "protobuf", contentType: typeProtobuf, keys: both, row: rowProto},
		{name: "protobuf_native_only", contentType: typeProtobuf, feature: featureNative, keys: []string{keyNative}},
		{name: "protobuf_classic", contentType: typeProtobuf, keys: []string{protobuf}},
		{name: "openmetrics_legacy", contentType: typeOpenMetrics, keys: []string{openMetrics, legacy, underscores}},
		{name: "text_legacy", contentType: typeText, keys: []string{text, legacy, underscores}},
		{name: "protobuf_legacy", contentType: typeProtobuf, keys: []string{keyNative, keyClassic, legacy, underscores}},
		// Which formats Prometheus 3 requests with UTF-8 depends on its version.
		{name: "text_utf8", contentType: typeText, keys: []string{text}, accept: acceptUTF8},
		{name: "protobuf_utf8", contentType: typeProtobuf, keys: both, accept: acceptProtobuf},
		{
			name: "identity", contentType: typeOpenMetrics, keys: []string{"enable_compression: false"},
			acceptEncoding: "identity",
		},
		{name: "zstd", contentType: typeOpenMetrics, feature: featureZstd, acceptEncoding: "zstd,gzip"},
	}
}

// formatTest scrapes a fleet with odd texts in every format.
type formatTest struct {
	release   release
	jobs      []formatJob
	servers   map[string]*prometheus // by feature
	recorders map[string]*recorder   // by job
	stored    map[string]storedSeries
	odd       map[string]oddText // by cluster ID
	column    *resultColumn
}

func testFormatsAgree(t *testing.T, program string, r release, column *resultColumn) {
	c, odd := newOddCloud(t)
	// With min_interval, all scrapes show the same connections and counters.
	exporter := c.startExporter(t, program, 0,
		exporterOptions{scrape: "min_interval: 1h", discovery: "labels_from_tags: [team]"})
	status, body := get(t, newClient(t), "http://"+exporter.address+"/metrics")
	if status != http.StatusOK || strings.Contains(body, `reason="decode"} 1`) {
		t.Fatalf("got status %d, want 200 and no invalid response of the cloud:\n%s", status, body)
	}
	if out, err := runProgram(t, body, r.promtool, "check", "metrics"); err != nil || out != "" {
		t.Errorf("promtool check metrics: got %v and output %q, want none", err, out)
	}
	column.record(t, rowLint, "nothing to say")

	f := &formatTest{release: r, jobs: r.formatJobs(), odd: odd, column: column}
	f.scrape(t, exporter)
	f.checkNegotiations(t)
	f.checkSeriesAgree(t)
	f.checkNativeHistograms(t)
	f.checkOddTexts(t)
	f.checkRulesOfNativeMetric(t)

	prom := f.servers[""]
	prom.waitForProbes(t, len(c.clusters), 1)
	metrics, probes := f.stored["text"].values, prom.storedSeries(t, "css_vpcep_probe").values
	if diff := gocmp.Diff(seriesOfProbes(metrics), seriesOfProbes(probes)); diff != "" {
		t.Errorf("/metrics and /probe (-metrics +probe):\n%s", diff)
	}
	f.checkTargetNames(t)
}

func (f *formatTest) scrape(t *testing.T, exporter *process) {
	t.Helper()
	f.recorders = make(map[string]*recorder)
	jobs := map[string]string{"": balancedJob(t, exporter.address)} // by feature
	for _, j := range f.jobs {
		f.recorders[j.name] = startRecorder(t, exporter, j.accept)
		jobs[j.feature] += scrapeJob(j.name, f.recorders[j.name].address, j.keys)
	}
	f.servers = make(map[string]*prometheus)
	for feature, config := range jobs {
		f.servers[feature] = startRelease(t, f.release.prometheus, scrapeConfigs(config), nil, "--enable-feature="+feature)
	}
	f.stored = make(map[string]storedSeries)
	for _, j := range f.jobs {
		prom := f.servers[j.feature]
		eventually(t, "2 scrapes of job "+j.name, func() string {
			if n := prom.number(t, fmt.Sprintf(`sum_over_time(up{job=%q}[10m])`, j.name)); n < 2 {
				return fmt.Sprintf("%g scrapes", n)
			}
			return ""
		})
		f.stored[j.name] = prom.storedSeries(t, j.name)
	}
}

func scrapeJob(name, address string, keys []string) string {
	job := fmt.Sprintf("  - job_name: %s\n    scrape_interval: %[2]s\n    scrape_timeout: %[2]s\n"+
		"    static_configs: [{targets: [%[3]q]}]\n", name, interval, address)
	for _, key := range keys {
		job += "    " + key + "\n"
	}
	return job
}

type histogram struct {
	Count, Sum float64
	Buckets    []struct{ lower, upper, count float64 }
}

// UnmarshalJSON reads [seconds, {"count": "value", "sum": "value", "buckets": [[kind, "lower", "upper", "count"], …]}].
func (h *histogram) UnmarshalJSON(b []byte) error {
	var content struct {
		Count   float64 `json:",string"`
		Sum     float64 `json:",string"`
		Buckets [][4]json.RawMessage
	}
	if err := json.Unmarshal(b, &[]any{new(float64), &content}); err != nil {
		return err
	}
	h.Count, h.Sum = content.Count, content.Sum
	for _, bucket := range content.Buckets {
		var numbers [3]float64
		for i := range numbers {
			text, err := strconv.Unquote(string(bucket[i+1]))
			if err != nil {
				return err
			}
			if numbers[i], err = strconv.ParseFloat(text, 64); err != nil {
				return err
			}
		}
		h.Buckets = append(h.Buckets, struct{ lower, upper, count float64 }{numbers[0], numbers[1], numbers[2]})
	}
	return nil
}

type storedSeries struct {
	values     map[string]float64    // by labels, formatted with %q
	histograms map[string]*histogram // by operation
	le         string                // the bound 10, as ingested
}

// storedSeries removes the labels of the target and returns 0 for values that change with time.
func (p *prometheus) storedSeries(t *testing.T, job string) storedSeries {
	t.Helper()
	changing := regexp.MustCompile(`^(go_|process_|promhttp_|scrape_|css_vpcep_scrape_duration_)`)
	stored := storedSeries{values: make(map[string]float64), histograms: make(map[string]*histogram)}
	for _, s := range p.query(t, fmt.Sprintf(`{job=%q}`, job)) {
		labels := s.Labels
		name := labels["__name__"]
		if name == nativeMetric+"_bucket" && strings.HasPrefix(labels["le"], "10") {
			stored.le = labels["le"]
		}
		for _, label := range []string{"le", "quantile"} { // 1 and 1.0 are equal
			if value, err := strconv.ParseFloat(labels[label], 64); err == nil {
				labels[label] = strconv.FormatFloat(value, 'g', -1, 64)
			}
		}
		delete(labels, "job")
		delete(labels, "instance")
		if s.Histogram != nil {
			if name != nativeMetric {
				t.Errorf("%s: %s is a native histogram", job, name)
			}
			stored.histograms[labels["operation"]] = s.Histogram
			continue
		}
		if changing.MatchString(name) {
			s.Value.value = 0
		}
		stored.values[fmt.Sprintf("%q", labels)] = s.Value.value
	}
	return stored
}

// seriesOfProbes returns the series that probes have too, without the label project, which is on their targets.
func seriesOfProbes(values map[string]float64) map[string]float64 {
	project := regexp.MustCompile(` "project":"\w+"`)
	probed := make(map[string]float64)
	for labels, value := range values {
		if strings.Contains(labels, `"__name__":"css_vpcep_`) && strings.Contains(labels, `"cluster_id":`) {
			probed[project.ReplaceAllString(labels, "")] = value
		}
	}
	return probed
}

func (f *formatTest) checkNegotiations(t *testing.T) {
	t.Helper()
	utf8Requested := make(map[string]bool) // by Prometheus itself, by media type
	for _, j := range f.jobs {
		got := f.recorders[j.name].negotiation(t, j.name)
		if got.status != http.StatusOK || !strings.HasPrefix(got.contentType, j.contentType) {
			t.Errorf("%s: requested %s, got status %d and %s, want 200 and %s",
				j.name, got.accept, got.status, got.contentType, j.contentType)
			continue
		}
		encoding := cmp.Or(j.acceptEncoding, "gzip")
		if got.acceptEncoding != encoding || !strings.Contains(encoding, cmp.Or(got.contentEncoding, "identity")) {
			t.Errorf("%s: requested %q, got %q, want %q for both",
				j.name, got.acceptEncoding, got.contentEncoding, encoding)
		}
		want, served := requestsUTF8(got.accept, j.contentType), strings.HasSuffix(got.contentType, allowUTF8)
		if want != served {
			t.Errorf("%s: requested %s, got %s, want UTF-8: %t", j.name, got.accept, got.contentType, want)
		}
		if want && j.accept == "" {
			utf8Requested[mediaType(j.contentType)] = true
		}
		if j.row == "" {
			continue
		}
		how := ""
		if j.accept != "" {
			how = ", once a proxy has it ask for text"
		}
		f.column.record(t, j.row, "`%s`%s", got.contentType, how)
	}
	f.recordNegotiations(t, slices.Sorted(maps.Keys(utf8Requested)))
}

func (f *formatTest) recordNegotiations(t *testing.T, utf8Requested []string) {
	t.Helper()
	compression := "`gzip`, as asked"
	if zstd := f.recorders["zstd"]; zstd != nil {
		compression += "; none with `enable_compression: false`; `" + zstd.negotiation(t, "zstd").contentEncoding +
			"` if it asks for `zstd,gzip`"
	}
	f.column.record(t, rowEncoding, "%s", compression)
	if !f.release.isV3() {
		if len(utf8Requested) > 0 {
			t.Errorf("got requests for UTF-8 in %v, want none", utf8Requested)
		}
		f.column.record(t, rowUTF8, "never asked for")
		return
	}
	f.column.record(t, rowUTF8,
		"asked for with `%s`; served wherever it is asked for, and `escaping=underscores` elsewhere",
		strings.Join(utf8Requested, "`, `"))
}

const allowUTF8 = "escaping=allow-utf-8"

func requestsUTF8(accept, contentType string) bool {
	version := regexp.MustCompile(`version=[0-9.]+`).FindString(contentType)
	for clause := range strings.SplitSeq(accept, ",") {
		if strings.HasPrefix(clause, mediaType(contentType)) && strings.Contains(clause, version) &&
			strings.Contains(clause, allowUTF8) {
			return true
		}
	}
	return false
}

func mediaType(contentType string) string {
	before, _, _ := strings.Cut(contentType, ";")
	return before
}

func (f *formatTest) checkSeriesAgree(t *testing.T) {
	t.Helper()
	text := f.stored["text"]
	if n := len(seriesOfProbes(text.values)); n < 500 {
		t.Errorf("got %d series of clusters, want at least 500", n)
	}
	for _, j := range f.jobs {
		want := maps.Clone(text.values)
		if !j.ingestsClassic() {
			maps.DeleteFunc(want, func(labels string, _ float64) bool {
				return strings.Contains(labels, `"__name__":"`+nativeMetric)
			})
			if len(want) == len(text.values) {
				t.Errorf("%s: text has no classic series of %s", j.name, nativeMetric)
			}
		}
		if diff := gocmp.Diff(want, f.stored[j.name].values); diff != "" {
			t.Errorf("text and %s (-text +%s):\n%s", j.name, j.name, diff)
		}
	}
	f.column.record(t, rowSame, "the same in all")
	f.column.record(t, rowLE, "`le=\"%s\"`; OpenMetrics and protobuf bring `le=\"%s\"`",
		text.le, f.stored["openmetrics"].le)
}

func (f *formatTest) checkNativeHistograms(t *testing.T) {
	t.Helper()
	for _, j := range f.jobs {
		want := 0
		if j.ingestsNative() {
			want = 2 // operations: clusters, connections
		}
		histograms := f.stored[j.name].histograms
		if len(histograms) != want {
			t.Errorf("%s: got %d native histograms, want %d: %v", j.name, len(histograms), want, histograms)
		}
		for operation, h := range histograms {
			f.checkNativeHistogram(t, j.name+", "+operation, h, operation)
		}
	}
	if f.release.isV3() {
		f.column.record(t, rowNative, "native; classic too with `always_scrape_classic_histograms: true`")
	} else {
		f.column.record(t, rowNative, "native, in the place of the classic one")
	}
}

func (f *formatTest) checkNativeHistogram(t *testing.T, name string, h *histogram, operation string) {
	t.Helper()
	classic := func(suffix, le string) (float64, bool) {
		labels := map[string]string{"__name__": nativeMetric + suffix, "operation": operation}
		if le != "" {
			labels["le"] = le
		}
		value, ok := f.stored["text"].values[fmt.Sprintf("%q", labels)]
		return value, ok
	}
	count, ok := classic("_count", "")
	sum, _ := classic("_sum", "")
	if !ok || count == 0 || h.Count != count || h.Sum != sum {
		t.Errorf("%s: got count %g and sum %g, want the classic %g and %g", name, h.Count, h.Sum, count, sum)
	}
	total := 0.0
	for _, b := range h.Buckets {
		total += b.count
	}
	if total != h.Count {
		t.Errorf("%s: got %g observations in the buckets, want the count %g", name, total, h.Count)
	}
	for _, bound := range []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10} {
		got, ok := classic("_bucket", strconv.FormatFloat(bound, 'g', -1, 64))
		least, most := 0.0, 0.0 // a native bucket that contains the bound may count on either side
		for _, b := range h.Buckets {
			if b.upper <= bound {
				least += b.count
			}
			if b.lower < bound {
				most += b.count
			}
		}
		if !ok || got < least || got > most {
			t.Errorf("%s: got %g observations up to %g in the classic bucket, want %g to %g as in the native ones",
				name, got, bound, least, most)
		}
	}
}

func (f *formatTest) checkRulesOfNativeMetric(t *testing.T) {
	t.Helper()
	type rule struct{ Record, Expr string }
	var file struct{ Groups []struct{ Rules []rule } }
	content, err := os.ReadFile("../../deploy/prometheus/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(content, &file); err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			if !strings.Contains(rule.Expr, nativeMetric) {
				continue
			}
			checked++
			for feature, prom := range f.servers {
				if got := prom.query(t, rule.Expr); len(got) != 2 { // one for each operation
					t.Errorf("%s with feature %q: got %v, want 2 series", rule.Record, feature, got)
				}
			}
		}
	}
	if checked == 0 {
		t.Errorf("no rule uses %s", nativeMetric)
	}
	f.column.record(t, rowRules, "give their values with the classic series, and with the native one alone")
}

func (f *formatTest) checkOddTexts(t *testing.T) {
	t.Helper()
	for _, j := range f.jobs {
		f.checkOddLabels(t, j, "css_vpcep_up", "cluster_name")
		f.checkOddLabels(t, j, "css_vpcep_cluster_info",
			"cluster_name", "team", "vpc_id", "engine_version", "enterprise_project_id")
		f.checkOddLabels(t, j, "css_vpcep_service_info", "cluster_name", "service_name")
		f.checkOddLabels(t, j, "css_vpcep_connection_info", "cluster_name", "dns_name", "ipv6")
	}
	f.column.record(t, rowTexts, "%d of %d as promised, in all formats", len(f.odd), len(oddTexts()))
}

func (f *formatTest) checkOddLabels(t *testing.T, j formatJob, metric string, labels ...string) {
	t.Helper()
	missing := maps.Clone(f.odd)
	for _, s := range f.servers[j.feature].query(t, fmt.Sprintf(`%s{job=%q}`, metric, j.name)) {
		x, ok := f.odd[s.Labels["cluster_id"]]
		if !ok {
			continue // an ordinary cluster
		}
		delete(missing, s.Labels["cluster_id"])
		odd := labels
		if _, ok := x.decoded(t); ok && metric == "css_vpcep_connection_info" {
			odd = append(slices.Clone(labels), "specification_name", "domain_id", "ip")
			if x.label != "" {
				odd = append(odd, "connection_id")
			}
		}
		for _, label := range odd {
			if got := s.Labels[label]; got != x.label || len(got) > 1024 {
				t.Errorf("%s, %s: got %s %q for the text %q, want %q", j.name, metric, label, got, x.name, x.label)
			}
		}
	}
	for id, x := range missing {
		if x.label != "" || metric != "css_vpcep_service_info" { // which has no series without a name
			t.Errorf("%s, %s: got no series of %s with the text %q, want 1", j.name, metric, id, x.name)
		}
	}
}

func (f *formatTest) checkTargetNames(t *testing.T) {
	t.Helper()
	targets := f.servers[""].targets(t)
	for id, x := range f.odd {
		want := x.label
		if !f.release.isV3() && strings.Contains(x.label, "\n") {
			want = "" // .* in a relabelling does not match newlines
		}
		if got := targets[id].Labels["cluster_name"]; got != want {
			t.Errorf("target with the text %q: got cluster_name %q, want %q", x.name, got, want)
		}
	}
	cell := "the series and values of `/metrics`; targets with the odd names"
	if !f.release.isV3() {
		cell += ", but for those of several lines: `.*` does not match them in a relabelling"
	}
	f.column.record(t, rowProbe, "%s", cell)
}

func testLabelNamesAreValid(t *testing.T, program string, r release, column *resultColumn) {
	accepts := func(content, tool string, args ...string) bool {
		t.Helper()
		path := filepath.Join(writeFiles(t, map[string]string{"file.yml": content}), "file.yml")
		_, err := runProgram(t, "", tool, append(args, path)...)
		return err == nil
	}
	for name, valid := range map[string]bool{
		"team": true, "Team_2": true, "_team": true,
		"2nd_team": false, "team-a": false, "team.a": false, "队": false, "té": false,
		"a b": false, "": false, "a:b": false,
		"__team": false, // reserved by Prometheus
	} {
		for _, keys := range []string{
			fmt.Sprintf("discovery: {labels_from_tags: [%q]}", name),
			fmt.Sprintf("discovery: {labels_from_tags: {%q: 部门}}", name),
			fmt.Sprintf("clusters: [{id: 5c77b71c-5b35-4f50-8984-76387e42451a, labels: {%q: x}}]", name),
		} {
			config := "projects:\n  - {region: cn-north-4, " + keys + "}\n"
			if got := accepts(config, program, "--config.check", "--config.file"); got != valid {
				t.Errorf("%s: got accepted: %t, want %t", keys, got, valid)
			}
		}
		config := fmt.Sprintf("global: {external_labels: {%q: x}}\n", name)
		if valid && !accepts(config, r.promtool, "check", "config") {
			t.Errorf("Prometheus rejects the label name %q, which the exporter accepts", name)
		}
	}
	column.record(t, rowNames, "none that Prometheus would not take")
}
