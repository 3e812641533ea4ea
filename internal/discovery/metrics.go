// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/sessions"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	up, clusters, lastSuccess, failure, accountUp, accountProjects, sessionsUp, sessionsLastSuccess *prometheus.Desc
}

func newMetrics() metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("css_vpcep_discovery_"+name, help, append([]string{"region", "project_id"}, labels...), nil)
	}
	return metrics{
		up: desc("up",
			"Whether the last refresh of the project's cluster list succeeded (1) or not (0)."),
		clusters: desc("clusters",
			"Number of discovered clusters that match the filters."),
		lastSuccess: desc("last_success_timestamp_seconds",
			"Unix time at which the project's cluster list was last read completely."),
		failure: desc("failure_info",
			"Why the last refresh of the project's cluster list failed: reason, and error code of the API; always 1.",
			"project", "reason", "code"),
		accountUp: prometheus.NewDesc("css_vpcep_account_discovery_up",
			"Whether the last listing of the account's projects succeeded (1) or not (0).", []string{"project"}, nil),
		accountProjects: prometheus.NewDesc("css_vpcep_account_discovery_projects",
			"Number of the account's projects that are read.", []string{"project"}, nil),
		sessionsUp: prometheus.NewDesc("css_vpcep_sessions_up",
			"Whether the last read of the project's sessions from Cloud Eye succeeded (1) or not (0).",
			[]string{"region", "project_id"}, nil),
		sessionsLastSuccess: prometheus.NewDesc("css_vpcep_sessions_last_success_timestamp_seconds",
			"Unix time at which the project's sessions were last read completely.", []string{"region", "project_id"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (f *Fleet) Describe(ch chan<- *prometheus.Desc) {
	ch <- f.metrics.up
	ch <- f.metrics.clusters
	ch <- f.metrics.lastSuccess
	ch <- f.metrics.failure
	ch <- f.metrics.accountUp
	ch <- f.metrics.accountProjects
	ch <- f.metrics.sessionsUp
	ch <- f.metrics.sessionsLastSuccess
}

// results are the results of reads, by region and project ID. Projects with the same ID share series, which show the
// worst state.
type results map[resultKey]*result

type resultKey struct{ region, projectID string }

type result struct {
	up, lastSuccess float64 // Unix time, or 0
	clusters        float64
}

func (r results) add(p *Project, err error, lastSuccess time.Time, clusters int) {
	now := &result{clusters: float64(clusters)}
	if err == nil {
		now.up = 1
	}
	if !lastSuccess.IsZero() {
		now.lastSuccess = float64(lastSuccess.UnixMilli()) / 1e3
	}
	k := resultKey{p.Region, p.Client.KnownProjectID()}
	if known := r[k]; known != nil {
		now.up = min(known.up, now.up)
		now.clusters += known.clusters
		now.lastSuccess = min(known.lastSuccess, now.lastSuccess)
	}
	r[k] = now
}

// Collect implements prometheus.Collector.
func (f *Fleet) Collect(ch chan<- prometheus.Metric) {
	lists, reads := make(results), make(results)
	m := f.metrics
	f.collectAccounts(ch)
	for _, p := range f.States() {
		if s := p.sessions(); s.Tried {
			reads.add(p.Project, s.Err, s.LastSuccess, 0)
		}
		if p.Project.Search == nil || !p.Tried {
			continue
		}
		if p.Err != nil {
			ch <- prometheus.MustNewConstMetric(m.failure, prometheus.GaugeValue, 1,
				p.Project.Region, p.Project.Client.KnownProjectID(), p.Project.Name, reasonOf(p.Err), cloud.CodeOf(p.Err))
		}
		lists.add(p.Project, p.Err, p.LastSuccess, p.Found)
	}
	for k, r := range lists {
		ch <- prometheus.MustNewConstMetric(m.up, prometheus.GaugeValue, r.up, k.region, k.projectID)
		if r.lastSuccess == 0 { // the number of clusters is unknown, not zero
			continue
		}
		ch <- prometheus.MustNewConstMetric(m.clusters, prometheus.GaugeValue, r.clusters, k.region, k.projectID)
		ch <- prometheus.MustNewConstMetric(m.lastSuccess, prometheus.GaugeValue, r.lastSuccess, k.region, k.projectID)
	}
	for k, r := range reads {
		ch <- prometheus.MustNewConstMetric(m.sessionsUp, prometheus.GaugeValue, r.up, k.region, k.projectID)
		if r.lastSuccess != 0 {
			ch <- prometheus.MustNewConstMetric(m.sessionsLastSuccess, prometheus.GaugeValue, r.lastSuccess, k.region, k.projectID)
		}
	}
}

func (s *State) sessions() sessions.State {
	if s.Project.Sessions == nil {
		return sessions.State{}
	}
	return s.Project.Sessions.State()
}

func (f *Fleet) collectAccounts(ch chan<- prometheus.Metric) {
	for _, a := range f.Accounts() {
		if !a.Tried {
			continue
		}
		up := 0.0
		if a.Err == nil {
			up = 1
		}
		ch <- prometheus.MustNewConstMetric(f.metrics.accountUp, prometheus.GaugeValue, up, a.Account.Name)
		if a.Projects > 0 || !a.LastSuccess.IsZero() { // otherwise, the number is unknown, not zero
			ch <- prometheus.MustNewConstMetric(f.metrics.accountProjects, prometheus.GaugeValue,
				float64(a.Projects), a.Account.Name)
		}
	}
}
