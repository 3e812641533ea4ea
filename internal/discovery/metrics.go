// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"css_vpcep_exporter/internal/cloud"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct{ up, clusters, lastSuccess, failure, accountUp, accountProjects *prometheus.Desc }

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
}

// Collect implements prometheus.Collector. Projects with the same ID share series, which show the worst state.
func (f *Fleet) Collect(ch chan<- prometheus.Metric) {
	type key struct{ region, projectID string }
	type state struct{ up, clusters, lastSuccess float64 }
	states := make(map[key]*state)
	m := f.metrics
	f.collectAccounts(ch)
	for _, p := range f.States() {
		if p.Project.Search == nil || !p.Tried {
			continue
		}
		now := state{clusters: float64(p.Found)}
		if p.Err == nil {
			now.up = 1
		}
		if !p.LastSuccess.IsZero() {
			now.lastSuccess = float64(p.LastSuccess.UnixMilli()) / 1e3
		}
		k := key{p.Project.Region, p.Project.Client.KnownProjectID()}
		if p.Err != nil {
			ch <- prometheus.MustNewConstMetric(m.failure, prometheus.GaugeValue, 1,
				k.region, k.projectID, p.Project.Name, reasonOf(p.Err), cloud.CodeOf(p.Err))
		}
		if s := states[k]; s != nil {
			now.up = min(s.up, now.up)
			now.clusters += s.clusters
			now.lastSuccess = min(s.lastSuccess, now.lastSuccess)
		}
		states[k] = &now
	}
	for k, s := range states {
		ch <- prometheus.MustNewConstMetric(m.up, prometheus.GaugeValue, s.up, k.region, k.projectID)
		if s.lastSuccess == 0 { // the number of clusters is unknown, not zero
			continue
		}
		ch <- prometheus.MustNewConstMetric(m.clusters, prometheus.GaugeValue, s.clusters, k.region, k.projectID)
		ch <- prometheus.MustNewConstMetric(m.lastSuccess, prometheus.GaugeValue, s.lastSuccess, k.region, k.projectID)
	}
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
