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

// Prefixes of the Content-Type of each format.
const (
	typeText  = "text/plain; version=0.0.4;"
	typeOpen  = "application/openmetrics-text; version=1.0.0;"
	typeProto = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited;"
)

// native is the histogram that is exposed as a native histogram too.
const native = "css_vpcep_exporter_api_request_duration_seconds"

// way is a job that scrapes /metrics in one format.
type way struct {
	job, contentType string
	feature          string   // of Prometheus, to be enabled
	keys             []string // of the job, in YAML
	ask              string   // replaces the Accept header where Prometheus cannot be configured
	encoding         string   // allowed Content-Encoding; default: gzip
	row              string   // of the page, if any
}

// native reports whether the job ingests native histograms.
func (w way) native() bool {
	return w.feature == featureNative || slices.Contains(w.keys, nativeOn)
}

// classic reports whether the job ingests the classic series of native histograms.
func (w way) classic() bool { return !w.native() || slices.Contains(w.keys, classicToo) }

const (
	featureNative = "native-histograms" // Prometheus 3 accepts it, but needs a key in the job
	featureZstd   = "zstd-scrape"
	nativeOn      = "scrape_native_histograms: true"
	classicToo    = "always_scrape_classic_histograms: true"
)

// ways returns the formats that a Prometheus can be configured to request.
func (e edition) ways() []way {
	const (
		askText  = "text/plain;version=0.0.4;q=1,*/*;q=0.1" // as before Prometheus 2.5
		askUTF8  = "text/plain;version=0.0.4;escaping=allow-utf-8;q=0.5,*/*;q=0.1"
		askProto = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;escaping=allow-utf-8;q=0.6,*/*;q=0.1"
	)
	if !e.isV3() {
		return []way{
			{job: "default", contentType: typeOpen, row: rowDefault},
			{job: "openmetrics", contentType: typeOpen, row: rowOpen},
			{job: "text", contentType: typeText, ask: askText, row: rowText},
			{job: "protobuf", contentType: typeProto, feature: featureNative, row: rowProto},
		}
	}
	const (
		protobuf    = "scrape_protocols: [PrometheusProto]"
		openMetrics = "scrape_protocols: [OpenMetricsText1.0.0]"
		plain       = "scrape_protocols: [PrometheusText0.0.4]"
		legacy      = "metric_name_validation_scheme: legacy"
		underscores = "metric_name_escaping_scheme: underscores"
	)
	return []way{
		{job: "default", contentType: typeOpen, row: rowDefault},
		{job: "openmetrics", contentType: typeOpen, keys: []string{openMetrics}, row: rowOpen},
		{job: "text", contentType: typeText, keys: []string{plain}, row: rowText},
		{job: "protobuf", contentType: typeProto, keys: []string{nativeOn, classicToo}, row: rowProto},
		{job: "protobuf_native_alone", contentType: typeProto, feature: featureNative, keys: []string{nativeOn}},
		{job: "protobuf_classic", contentType: typeProto, keys: []string{protobuf}},
		{job: "openmetrics_legacy", contentType: typeOpen, keys: []string{openMetrics, legacy, underscores}},
		{job: "text_legacy", contentType: typeText, keys: []string{plain, legacy, underscores}},
		{job: "protobuf_legacy", contentType: typeProto, keys: []string{nativeOn, classicToo, legacy, underscores}},
		// Which formats Prometheus 3 requests with UTF-8 depends on its version.
		{job: "text_utf8", contentType: typeText, keys: []string{plain}, ask: askUTF8},
		{job: "protobuf_utf8", contentType: typeProto, keys: []string{nativeOn, classicToo}, ask: askProto},
		{job: "identity", contentType: typeOpen, keys: []string{"enable_compression: false"}, encoding: "identity"},
		{job: "zstd", contentType: typeOpen, feature: featureZstd, encoding: "zstd,gzip"},
	}
}

// testFormats scrapes a fleet with odd texts in every format and compares the stored series.
func testFormats(t *testing.T, program string, e edition, found *column) {
	c, odd := newOddCloud(t)
	// With min_interval, all scrapes have the same lists and the same counters of the exporter.
	exporter := c.exporter(t, program, 0, options{scrape: "min_interval: 1h", discovery: "labels_from_tags: [team]"})
	client := newClient(t)
	status, body := get(t, client, "http://"+exporter.address+"/metrics")
	if status != http.StatusOK || strings.Contains(body, `reason="decode"} 1`) {
		t.Fatalf("status %d or an invalid response of the cloud:\n%s", status, body)
	}
	if out, err := try(t, []byte(body), e.promtool, "check", "metrics"); err != nil || out != "" {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	found.record(t, rowLint, "nothing to say")

	ways := e.ways()
	recorders := make(map[string]*recorder)
	jobs := map[string]string{"": balancedJob(t, exporter.address)} // by feature
	for _, w := range ways {
		recorders[w.job] = record(t, exporter, w.ask)
		jobs[w.feature] += job(w.job, recorders[w.job].address, w.keys)
	}
	proms := make(map[string]*prometheus)
	for feature, jobs := range jobs {
		proms[feature] = startEdition(t, e.prometheus, scrapeConfigs(jobs), nil, "--enable-feature="+feature)
	}
	of := func(w way) *prometheus { return proms[w.feature] }

	all := make(map[string]stored)
	for _, w := range ways {
		eventually(t, w.job+" was scraped twice", func() string {
			if n := of(w).number(t, fmt.Sprintf(`sum_over_time(up{job=%q}[10m])`, w.job)); n < 2 {
				return fmt.Sprintf("%g times", n)
			}
			return ""
		})
		all[w.job] = of(w).stored(t, w.job)
	}
	checkAgreed(t, e, ways, recorders, found)
	checkSame(t, ways, all, found)
	checkNative(t, e, ways, all, found)
	checkTexts(t, ways, of, odd, found)
	checkRules(t, proms, found)

	prom := proms[""]
	prom.scraped(t, len(c.clusters), 1)
	if diff := gocmp.Diff(ofClusters(all["text"].numbers), ofClusters(prom.stored(t, "css_vpcep_probe").numbers)); diff != "" {
		t.Errorf("/metrics and /probe (-metrics +probe):\n%s", diff)
	}
	checkTargets(t, e, prom, odd, found)
}

// job returns the configuration of a job.
func job(name, address string, keys []string) string {
	section := fmt.Sprintf("  - job_name: %s\n    scrape_interval: %[2]s\n    scrape_timeout: %[2]s\n    static_configs: [{targets: [%[3]q]}]\n",
		name, interval, address)
	for _, key := range keys {
		section += "    " + key + "\n"
	}
	return section
}

// histogram is a native histogram.
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

// stored has the current values of a job by their labels, as text.
type stored struct {
	numbers    map[string]float64
	histograms map[string]*histogram // by operation
	le         string                // of one bucket of the classic histogram, as ingested
}

// stored returns the series of a job without the labels of the target and without values that change with time.
func (p *prometheus) stored(t *testing.T, job string) stored {
	t.Helper()
	moving := regexp.MustCompile(`^(go_|process_|promhttp_|scrape_|css_vpcep_scrape_duration_)`)
	s := stored{numbers: make(map[string]float64), histograms: make(map[string]*histogram)}
	for _, result := range p.query(t, fmt.Sprintf(`{job=%q}`, job)) {
		labels := result.Labels
		name := labels["__name__"]
		if name == native+"_bucket" && strings.HasPrefix(labels["le"], "10") {
			s.le = labels["le"]
		}
		for _, number := range []string{"le", "quantile"} { // 1 and 1.0 are equal
			if value, err := strconv.ParseFloat(labels[number], 64); err == nil {
				labels[number] = strconv.FormatFloat(value, 'g', -1, 64)
			}
		}
		delete(labels, "job")
		delete(labels, "instance")
		if result.Histogram != nil {
			if name != native {
				t.Errorf("%s is a native histogram", name)
			}
			s.histograms[labels["operation"]] = result.Histogram
			continue
		}
		if moving.MatchString(name) {
			result.Value.value = 0
		}
		s.numbers[fmt.Sprintf("%q", labels)] = result.Value.value
	}
	return s
}

// ofClusters returns the series that a probe has too, without the label project, which its target adds to all of them.
func ofClusters(numbers map[string]float64) map[string]float64 {
	of := make(map[string]float64)
	for labels, value := range numbers {
		if strings.Contains(labels, `"__name__":"css_vpcep_`) && strings.Contains(labels, `"cluster_id":`) {
			of[regexp.MustCompile(` "project":"\w+"`).ReplaceAllString(labels, "")] = value
		}
	}
	return of
}

// checkAgreed compares the served formats with the requested ones.
func checkAgreed(t *testing.T, e edition, ways []way, recorders map[string]*recorder, found *column) {
	t.Helper()
	const utf8 = "escaping=allow-utf-8"
	asked := make(map[string]bool) // formats in which Prometheus itself requests UTF-8
	for _, w := range ways {
		got := recorders[w.job].exchange(t, w.job)
		if got.status != http.StatusOK || !strings.HasPrefix(got.contentType, w.contentType) {
			t.Errorf("%s: status %d, requested %s, got %s", w.job, got.status, got.accept, got.contentType)
			continue
		}
		encoding := cmp.Or(w.encoding, "gzip")
		if got.acceptEncoding != encoding || !strings.Contains(encoding, cmp.Or(got.contentEncoding, "identity")) {
			t.Errorf("%s: requested %q, got %q", w.job, got.acceptEncoding, got.contentEncoding)
		}
		// The part of Accept for the served format.
		mediaType, _, _ := strings.Cut(w.contentType, ";")
		wants := false
		for clause := range strings.SplitSeq(got.accept, ",") {
			version := regexp.MustCompile(`version=[0-9.]+`).FindString(strings.ReplaceAll(w.contentType, " ", ""))
			wants = wants || strings.HasPrefix(clause, mediaType) && strings.Contains(clause, version) && strings.Contains(clause, utf8)
		}
		if served := strings.HasSuffix(got.contentType, utf8); wants != served {
			t.Errorf("%s: requested %s, got %s", w.job, got.accept, got.contentType)
		}
		if wants && w.ask == "" {
			asked[mediaType] = true
		}
		if w.row == "" {
			continue
		}
		how := ""
		if w.ask != "" {
			how = ", once a proxy has it ask for text"
		}
		found.record(t, w.row, "`%s`%s", got.contentType, how)
	}
	compression := "`gzip`, as asked"
	if zstd := recorders["zstd"]; zstd != nil {
		compression += "; none with `enable_compression: false`; `" + zstd.exchange(t, "zstd").contentEncoding + "` if it asks for `zstd,gzip`"
	}
	found.record(t, rowEncoding, "%s", compression)
	if !e.isV3() {
		if len(asked) > 0 {
			t.Errorf("requested UTF-8: %v", asked)
		}
		found.record(t, rowUTF8, "never asked for")
		return
	}
	found.record(t, rowUTF8, "asked for with `%s`; served wherever it is asked for, and `escaping=underscores` elsewhere",
		strings.Join(slices.Sorted(maps.Keys(asked)), "`, `"))
}

// checkSame compares all formats with text: they must have the same series and values, except for the classic series of
// histograms that are ingested only as native ones.
func checkSame(t *testing.T, ways []way, all map[string]stored, found *column) {
	t.Helper()
	text := all["text"]
	if n := len(ofClusters(text.numbers)); n < 500 {
		t.Errorf("%d series of clusters", n)
	}
	for _, w := range ways {
		want := maps.Clone(text.numbers)
		if !w.classic() {
			maps.DeleteFunc(want, func(labels string, _ float64) bool { return strings.Contains(labels, `"__name__":"`+native) })
		}
		if w.classic() == (len(want) < len(text.numbers)) {
			t.Errorf("%s: %d of %d series are left out", w.job, len(text.numbers)-len(want), len(text.numbers))
		}
		if diff := gocmp.Diff(want, all[w.job].numbers); diff != "" {
			t.Errorf("text and %s (-text +%s):\n%s", w.job, w.job, diff)
		}
	}
	found.record(t, rowSame, "the same in all")
	found.record(t, rowLE, "`le=\"%s\"`; OpenMetrics and protobuf bring `le=\"%s\"`", text.le, all["openmetrics"].le)
}

// checkNative compares the native histograms with the classic ones.
func checkNative(t *testing.T, e edition, ways []way, all map[string]stored, found *column) {
	t.Helper()
	classic := all["text"].numbers
	series := func(suffix, operation, le string) (float64, bool) {
		labels := map[string]string{"__name__": native + suffix, "operation": operation}
		if le != "" {
			labels["le"] = le
		}
		value, ok := classic[fmt.Sprintf("%q", labels)]
		return value, ok
	}
	for _, w := range ways {
		histograms := all[w.job].histograms
		if !w.native() {
			if len(histograms) > 0 {
				t.Errorf("%s: native histograms: %v", w.job, histograms)
			}
			continue
		}
		if len(histograms) != 2 { // operations: clusters, connections
			t.Errorf("%s: native histograms: %v", w.job, histograms)
		}
		for operation, h := range histograms {
			count, ok := series("_count", operation, "")
			sum, _ := series("_sum", operation, "")
			if !ok || h.Count != count || h.Sum != sum || count == 0 {
				t.Errorf("%s, %s: count %g and sum %g, classic %g and %g", w.job, operation, h.Count, h.Sum, count, sum)
			}
			total := 0.0
			for _, b := range h.Buckets {
				total += b.count
			}
			if total != h.Count {
				t.Errorf("%s, %s: %g observations in the buckets, count %g", w.job, operation, total, h.Count)
			}
			// A native bucket across a classic bound may count on either side.
			for _, bound := range []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10} {
				under, ok := series("_bucket", operation, strconv.FormatFloat(bound, 'g', -1, 64))
				least, most := 0.0, 0.0
				for _, b := range h.Buckets {
					if b.upper <= bound {
						least += b.count
					}
					if b.lower < bound {
						most += b.count
					}
				}
				if !ok || under < least || under > most {
					t.Errorf("%s, %s: classic has %g up to %g, native from %g to %g", w.job, operation, under, bound, least, most)
				}
			}
		}
	}
	if e.isV3() {
		found.record(t, rowNative, "native; classic too with `always_scrape_classic_histograms: true`")
	} else {
		found.record(t, rowNative, "native, in the place of the classic one")
	}
}

// checkRules fails if a recording rule over the histogram has no result with classic series, native histograms or both.
func checkRules(t *testing.T, proms map[string]*prometheus, found *column) {
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
		for _, r := range group.Rules {
			if !strings.Contains(r.Expr, native) {
				continue
			}
			checked++
			for feature, prom := range proms {
				if got := prom.query(t, r.Expr); len(got) != 2 { // by operation
					t.Errorf("%s is %v with feature %q", r.Record, got, feature)
				}
			}
		}
	}
	if checked == 0 {
		t.Errorf("no rule uses %s", native)
	}
	found.record(t, rowRules, "give their values with the classic series, and with the native one alone")
}

// checkTexts compares the labels in Prometheus with the expected form of the cloud's odd texts.
func checkTexts(t *testing.T, ways []way, of func(way) *prometheus, odd map[string]text, found *column) {
	t.Helper()
	for _, w := range ways {
		for metric, labels := range map[string][]string{
			"css_vpcep_up":              {"cluster_name"},
			"css_vpcep_cluster_info":    {"cluster_name", "team", "vpc_id", "engine_version", "enterprise_project_id"},
			"css_vpcep_service_info":    {"cluster_name", "service_name"},
			"css_vpcep_connection_info": {"cluster_name", "dns_name", "ipv6"},
		} {
			left := maps.Clone(odd)
			for _, s := range of(w).query(t, fmt.Sprintf(`%s{job=%q}`, metric, w.job)) {
				x, ok := odd[s.Labels["cluster_id"]]
				if !ok {
					continue // an ordinary cluster
				}
				delete(left, s.Labels["cluster_id"])
				named := labels
				if _, ok := x.plain(t); ok && metric == "css_vpcep_connection_info" {
					named = append(slices.Clone(labels), "specification_name", "domain_id", "ip")
					if x.shown != "" {
						named = append(named, "connection_id")
					}
				}
				for _, name := range named {
					if s.Labels[name] != x.shown || len(s.Labels[name]) > 1024 {
						t.Errorf("%s, %s: %s of %s is %q, want %q", w.job, metric, name, x.name, s.Labels[name], x.shown)
					}
				}
			}
			for id, x := range left {
				if x.shown != "" || metric != "css_vpcep_service_info" { // an empty name has no such series
					t.Errorf("%s: no series %s of %s, %s", w.job, metric, id, x.name)
				}
			}
		}
	}
	found.record(t, rowTexts, "%d of %d as promised, in all formats", len(odd), len(oddTexts()))
}

// checkTargets compares the labels of the targets of /sd with the odd names.
func checkTargets(t *testing.T, e edition, prom *prometheus, odd map[string]text, found *column) {
	t.Helper()
	targets := prom.targets(t)
	for id, x := range odd {
		want := x.shown
		if !e.isV3() && strings.Contains(x.shown, "\n") {
			want = "" // .* in a relabelling does not match newlines
		}
		if got := targets[id].Labels["cluster_name"]; got != want {
			t.Errorf("the target of %s is named %q, want %q", x.name, got, want)
		}
	}
	cell := "the series and values of `/metrics`; targets with the odd names"
	if !e.isV3() {
		cell += ", but for those of several lines: `.*` does not match them in a relabelling"
	}
	found.record(t, rowProbe, "%s", cell)
}

// testNames checks that the exporter accepts only label names that Prometheus accepts.
func testNames(t *testing.T, program string, e edition, found *column) {
	for _, test := range []struct {
		name string
		ok   bool
	}{
		{"team", true}, {"Team_2", true}, {"_team", true},
		{"2nd_team", false}, {"team-a", false}, {"team.a", false}, {"队", false}, {"té", false}, {"a b", false}, {"", false}, {"a:b", false},
		{"__team", false}, // reserved by Prometheus
	} {
		path := filepath.Join(t.TempDir(), "file.yml")
		taken := func(content, tool string, args ...string) bool {
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := try(t, nil, tool, args...)
			return err == nil
		}
		for _, keys := range []string{
			fmt.Sprintf("discovery: {labels_from_tags: [%q]}", test.name),
			fmt.Sprintf("clusters: [{id: 5c77b71c-5b35-4f50-8984-76387e42451a, labels: {%q: x}}]", test.name),
		} {
			file := "projects:\n  - {region: cn-north-4, " + keys + "}\n"
			if got := taken(file, program, "--config.check", "--config.file="+path); got != test.ok {
				t.Errorf("%s: accepted: %t, want %t", keys, got, test.ok)
			}
		}
		if !test.ok {
			continue
		}
		if file := fmt.Sprintf("global: {external_labels: {%q: x}}\n", test.name); !taken(file, e.promtool, "check", "config", path) {
			t.Errorf("the exporter accepts %q, Prometheus does not", test.name)
		}
	}
	found.record(t, rowNames, "none that Prometheus would not take")
}
