// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	conformancePage = "../../docs/conformance-prometheus.md"
	envUpdate       = "CSS_VPCEP_UPDATE"
)

// Rows of the table.
const (
	rowDefault    = "`/metrics`, as a job asks by default"
	rowText       = "Text"
	rowOpen       = "OpenMetrics"
	rowProto      = "Protobuf, with native histograms on"
	rowUTF8       = "`escaping=allow-utf-8` in the `Accept`"
	rowEncoding   = "Compression"
	rowSame       = "Series and values of the formats"
	rowLE         = "Label `le` of a classic bucket, as text brings it"
	rowNative     = "`css_vpcep_exporter_api_request_duration_seconds` over protobuf"
	rowRules      = "Recording rules over this histogram"
	rowTexts      = "Odd texts of the cloud in labels"
	rowProbe      = "`/probe` of each cluster that `/sd` lists"
	rowLint       = "`promtool check metrics`, with odd texts"
	rowNames      = "Names of configured labels"
	rowVolume     = "1,000 clusters of 50 connections in one scrape"
	rowStale      = "Cluster deleted, `/metrics`: its series"
	rowStaleProbe = "Cluster deleted, `/probe`: its series"
	rowFollow     = "Clusters deleted and added, `/sd`"
)

func rows() []string {
	return []string{
		rowDefault, rowText, rowOpen, rowProto, rowUTF8, rowEncoding, rowSame, rowLE, rowNative, rowRules, rowTexts,
		rowProbe, rowLint, rowNames, rowVolume, rowStale, rowStaleProbe, rowFollow,
	}
}

// resultColumn has the results of one release.
type resultColumn struct {
	mu    sync.Mutex
	cells map[string]string // by row
}

func (c *resultColumn) record(t *testing.T, row, format string, args ...any) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.cells[row]; ok || !slices.Contains(rows(), row) {
		t.Errorf("row %q: already recorded or not in rows", row)
	}
	c.cells[row] = fmt.Sprintf(format, args...)
}

// TestPrometheusVersions compares its results with the table of docs/conformance-prometheus.md.
func TestPrometheusVersions(t *testing.T) {
	program := buildExporter(t)
	columns := make(map[string]map[string]string) // by version and row
	for _, r := range releases(t) {
		column := &resultColumn{cells: make(map[string]string)}
		t.Run(r.version, func(t *testing.T) {
			// This one needs the whole machine, so it is not parallel.
			t.Run("LargeFleetFitsOneScrape", func(t *testing.T) { testLargeFleetFitsOneScrape(t, program, r, column) })
			for name, test := range map[string]func(*testing.T, string, release, *resultColumn){
				"FormatsAgree":            testFormatsAgree,
				"LabelNamesAreValid":      testLabelNamesAreValid,
				"DeletedClusterGoesStale": testDeletedClusterGoesStale,
				"TargetsFollowFleet":      testTargetsFollowFleet,
			} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					test(t, program, r, column)
				})
			}
		})
		columns[r.version] = column.cells
	}
	if t.Failed() {
		return
	}
	// If -run selects subtests, they record only a part of the cells.
	complete := !strings.Contains(flag.Lookup("test.run").Value.String(), "/")
	if complete {
		for version, cells := range columns {
			for _, row := range rows() {
				if cells[row] == "" {
					t.Errorf("Prometheus %s: no result for %s", version, row)
				}
			}
		}
	}
	if os.Getenv(envUpdate) == "1" {
		updatePage(t, columns, complete)
	} else {
		checkPage(t, columns)
	}
}

// readPage splits the page at its table.
func readPage(t *testing.T) (before, table, after string) {
	t.Helper()
	content, err := os.ReadFile(conformancePage)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- table -->\n", "<!-- end of the table -->\n"
	before, rest, ok1 := strings.Cut(string(content), begin)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no table", conformancePage)
	}
	return before + begin, table, end + after
}

// updatePage writes the results into the page. It keeps other cells unless the results are complete.
func updatePage(t *testing.T, columns map[string]map[string]string, complete bool) {
	t.Helper()
	before, table, after := readPage(t)
	documented := parseTable(table)
	if complete {
		clear(documented)
	}
	for version, cells := range columns {
		if documented[version] == nil {
			documented[version] = make(map[string]string)
		}
		maps.Copy(documented[version], cells)
	}
	page := before + formatTable(documented) + after
	if err := os.WriteFile(conformancePage, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
}

func checkPage(t *testing.T, columns map[string]map[string]string) {
	t.Helper()
	_, table, _ := readPage(t)
	documented := parseTable(table)
	if diff := cmp.Diff(formatTable(documented), table); diff != "" {
		t.Errorf("%s: rows (-want +got):\n%s", conformancePage, diff)
	}
	if os.Getenv(envPrometheusDirs) != "" { // otherwise only the version in PATH was tested
		for version := range documented {
			if columns[version] == nil {
				t.Errorf("%s has a column for Prometheus %s, which was not tested", conformancePage, version)
			}
		}
	}
	for version, cells := range columns {
		if documented[version] == nil {
			t.Errorf("%s has no column for Prometheus %s; set %s=1 to write it", conformancePage, version, envUpdate)
			continue
		}
		for row, got := range cells {
			if want := documented[version][row]; got != want {
				t.Errorf("%s, %s with Prometheus %s: got\n%s\nwant\n%s\nset %s=1 to write it",
					conformancePage, row, version, got, want, envUpdate)
			}
		}
	}
}

// parseTable returns the cells by version and row.
func parseTable(table string) map[string]map[string]string {
	var versions []string
	cells := make(map[string]map[string]string)
	for i, line := range strings.Split(strings.TrimSpace(table), "\n") {
		fields := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "| "), " |"), " | ")
		switch i {
		case 0:
			for _, head := range fields[1:] {
				version := strings.TrimPrefix(head, "Prometheus ")
				versions = append(versions, version)
				cells[version] = make(map[string]string)
			}
		case 1: // separator
		default:
			for j, cell := range fields[1:min(len(fields), len(versions)+1)] {
				cells[versions[j]][fields[0]] = cell
			}
		}
	}
	return cells
}

func formatTable(cells map[string]map[string]string) string {
	versions := slices.Sorted(maps.Keys(cells))
	var b strings.Builder
	b.WriteString("| What |")
	for _, version := range versions {
		b.WriteString(" Prometheus " + version + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(versions)) + "\n")
	for _, row := range rows() {
		b.WriteString("| " + row + " |")
		for _, version := range versions {
			b.WriteString(" " + cells[version][row] + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}
