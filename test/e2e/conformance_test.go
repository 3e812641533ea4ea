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
	// updatePage is the environment variable that makes the test write the page.
	updatePage = "CSS_VPCEP_UPDATE"
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

// rows returns the rows of the table in order.
func rows() []string {
	return []string{
		rowDefault, rowText, rowOpen, rowProto, rowUTF8, rowEncoding, rowSame, rowLE, rowNative, rowRules, rowTexts, rowProbe, rowLint,
		rowNames, rowVolume, rowStale, rowStaleProbe, rowFollow,
	}
}

// column has the results of one Prometheus version by row.
type column struct {
	mu    sync.Mutex
	cells map[string]string
}

// record fills a cell. Cells are compared only if all tests passed.
func (c *column) record(t *testing.T, row, format string, args ...any) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, twice := c.cells[row]; twice || !slices.Contains(rows(), row) {
		t.Errorf("row %q: recorded twice or not in rows()", row)
	}
	c.cells[row] = fmt.Sprintf(format, args...)
}

// TestPrometheusVersions tests the exporter with each installed version of Prometheus and compares the results with
// docs/conformance-prometheus.md.
func TestPrometheusVersions(t *testing.T) {
	program := build(t)
	columns := make(map[string]map[string]string) // by version and row
	for _, e := range editions(t) {
		found := &column{cells: make(map[string]string)}
		t.Run(e.version, func(t *testing.T) {
			t.Run("Volume", func(t *testing.T) { testVolume(t, program, e, found) }) // alone, as it is heavy
			for name, test := range map[string]func(*testing.T, string, edition, *column){
				"Formats":   testFormats,
				"Names":     testNames,
				"Staleness": testStaleness,
				"Fleet":     testFleet,
			} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					test(t, program, e, found)
				})
			}
		})
		columns[e.version] = found.cells
	}
	if t.Failed() {
		return
	}
	// A part of the tests fills only a part of the cells.
	whole := !strings.Contains(flag.Lookup("test.run").Value.String(), "/")
	if whole {
		for version, cells := range columns {
			for _, row := range rows() {
				if cells[row] == "" {
					t.Errorf("no result for %s with Prometheus %s", row, version)
				}
			}
		}
	}
	checkPage(t, columns, whole)
}

// checkPage compares the table of the page with the results or, with CSS_VPCEP_UPDATE=1, writes it. If whole is false,
// the other cells are kept.
func checkPage(t *testing.T, columns map[string]map[string]string, whole bool) {
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
	shown := readTable(table)
	if os.Getenv(updatePage) == "1" {
		if whole {
			clear(shown)
		}
		for version, cells := range columns {
			if shown[version] == nil {
				shown[version] = make(map[string]string)
			}
			maps.Copy(shown[version], cells)
		}
		page := before + begin + writeTable(shown) + end + after
		if err := os.WriteFile(conformancePage, []byte(page), 0o600); err != nil { //nolint:gosec // the path is a constant
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(writeTable(shown), table); diff != "" {
		t.Errorf("rows of %s differ from those of the tests (-want +got):\n%s", conformancePage, diff)
	}
	if os.Getenv(prometheusDirs) != "" { // without it, only the version in PATH was tested
		for version := range shown {
			if columns[version] == nil {
				t.Errorf("%s has a column for Prometheus %s, which was not tested", conformancePage, version)
			}
		}
	}
	for version, cells := range columns {
		if shown[version] == nil {
			t.Errorf("%s has no column for Prometheus %s; write it with %s=1", conformancePage, version, updatePage)
			continue
		}
		for row, cell := range cells {
			if shown[version][row] != cell {
				t.Errorf("%s, %s with Prometheus %s:\n%s\nthe result is now (write it with %s=1):\n%s",
					conformancePage, row, version, shown[version][row], updatePage, cell)
			}
		}
	}
}

// readTable returns the cells of a table by version and row.
func readTable(table string) map[string]map[string]string {
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

func writeTable(cells map[string]map[string]string) string {
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
