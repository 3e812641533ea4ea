// SPDX-License-Identifier: Apache-2.0

package diagnose

import (
	"fmt"
	"math"
	"time"

	"css_vpcep_exporter/internal/diagnose/report"
)

// judgeTimeout estimates how long a scrape of all clusters takes: the projects' budgets refill side by side, and the reads
// share scrape.concurrency.
func (d *diagnosis) judgeTimeout(sessions []*session) report.Finding {
	clusters, unknown := 0, 0
	var budget, busy, slowest time.Duration
	for _, s := range sessions {
		n := len(s.targets) + s.clusters.more
		if s.clusters.err != nil || s.blocked() != "" {
			unknown++
		}
		clusters += n
		var read time.Duration
		pages := 1
		for _, r := range s.readings {
			if r.err == nil {
				read, pages = max(read, r.slowest), max(pages, r.needed())
			}
		}
		wait := float64(n*pages-s.p.Budget.Burst()) / float64(s.p.Budget.Limit())
		budget = max(budget, time.Duration(max(wait, 0)*float64(time.Second)))
		busy += time.Duration(n*pages) * read
		slowest = max(slowest, time.Duration(pages)*read)
	}
	if clusters == 0 {
		return report.Skippedf("no cluster is known")
	}
	takes := max(budget, busy/time.Duration(d.Concurrency), slowest)
	needed := takes + d.TimeoutOffset
	want := time.Duration(math.Ceil(needed.Seconds())) * time.Second
	text := fmt.Sprintf("%s: a scrape takes about %s at requests_per_second and scrape.concurrency, which needs a "+
		"scrape_timeout of %s or more",
		report.Count(clusters, "cluster", "clusters"), report.Took(max(takes, 100*time.Microsecond)), want)
	if unknown > 0 {
		text += fmt.Sprintf(" (without %s whose clusters are not known)", report.Count(unknown, "project", "projects"))
	}
	text += fmt.Sprintf("; assumed: %s (--scrape.timeout), of which %s are kept for the response", d.ScrapeTimeout,
		d.TimeoutOffset)
	if needed <= d.ScrapeTimeout {
		return report.OKf("%s", text)
	}
	return report.Failure(text, fmt.Sprintf("set scrape_timeout: %s or more, and scrape_interval at least as long, in "+
		"Prometheus, and --scrape.timeout=%s here; or raise requests_per_second, or set scrape.min_interval", want, want))
}
