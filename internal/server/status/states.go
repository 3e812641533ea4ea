// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"slices"
	"time"

	"css_vpcep_exporter/internal/css"
)

// condition is something that is true of a cluster or project.
type condition string

const (
	failing    condition = "failing" // the last scrape of a cluster, or refresh of a project, failed
	failed     condition = "failed"
	almostFull condition = "almost_full" // connections that use more than shareOfAlmostFull of their sessions
	unlisted   condition = "unlisted"    // accepted connections of accounts not in the allowlist
	rejected   condition = "rejected"
	truncated  condition = "truncated" // fewer connections are listed than reported
	filling    condition = "filling"   // connections that use more than shareOfFilling of their sessions
	pending    condition = "pending"
	unknown    condition = "unknown" // connections with an undocumented status
	stale      condition = "stale"   // the list was read long ago
	off        condition = "off"
	unread     condition = "unread"
	ok         condition = "ok"
	open       condition = "open"    // a permission is a wildcard
	limited    condition = "limited" // series of single connections or permissions are omitted
)

const staleAfter = 15 * time.Minute // like the alert CSSVPCEPDataStale

// worstFirst returns the conditions of clusters. Those up to stale need attention.
func worstFirst() [15]condition {
	return [15]condition{
		failing, failed, almostFull, unlisted, rejected, truncated, filling, pending, unknown, stale, off, unread, ok, open,
		limited,
	}
}

func (c condition) rank() int {
	all := worstFirst()
	return slices.Index(all[:], c)
}

func (c condition) needsAttention() bool { return c.rank() <= stale.rank() }

// kind is how a condition is shown.
type kind struct {
	tone, label string
	one, many   string // after a number of clusters
	here        string // on a cluster's page
	connection  string // instead, if it is about connections: after the number 1
	connections string // after other numbers
	advice      string
}

func aboutConnections(tone, label, connection, connections, advice string) kind {
	return kind{
		tone: tone, label: label, connection: connection, connections: connections, advice: advice,
		one: "cluster has " + connections, many: "clusters have " + connections,
	}
}

func kinds() map[condition]kind {
	return map[condition]kind{
		failing: {
			tone: "bad", label: "unreadable", one: "cluster cannot be read", many: "clusters cannot be read",
			here: "This cluster cannot be read", advice: "Each row says why, and what to do.",
		},
		failed: aboutConnections("bad", "failed", "failed connection", "failed connections",
			"Ask the owners to delete the endpoints and to create them again. Accepting failed connections does not help."),
		almostFull: aboutConnections("bad", "above 95 % of sessions", "connection above 95 % of its sessions",
			"connections above 95 % of their sessions",
			"Tell the owners now: clients may soon be unable to connect. A second endpoint, or a professional one, allows more."),
		unlisted: aboutConnections("bad", "unlisted", "accepted connection of an account that is not in the allowlist",
			"accepted connections of accounts that are not in the allowlist",
			"If an account should have access, add it to the allowlist. Otherwise reject its connections."),
		rejected: aboutConnections("bad", "rejected", "rejected connection", "rejected connections",
			"Accept the connections of accounts that should have access. Ask the owners of the others to delete the endpoints."),
		truncated: {
			tone: "warn", label: "truncated", one: "connection list is truncated", many: "connection lists are truncated",
			here:   "The connection list is truncated",
			advice: "The API lists fewer connections than it reports. The counts cover only those that it lists.",
		},
		filling: aboutConnections("warn", "above 80 % of sessions", "connection above 80 % of its sessions",
			"connections above 80 % of their sessions",
			"Ask the owners which clients open the sessions. A second endpoint, or a professional one, allows more."),
		pending: aboutConnections("warn", "pending", "connection pending acceptance", "connections pending acceptance",
			"Accept the connections that are expected, and reject the others."),
		unknown: aboutConnections("warn", "of unknown status", "connection with an unknown status",
			"connections with an unknown status", "The API may have changed. Look for a newer version of the exporter."),
		stale: {
			tone: "warn", label: "stale", one: "cluster was last read more than 15 minutes ago",
			many: "clusters were last read more than 15 minutes ago", here: "Last read more than 15 minutes ago",
			advice: "Check that Prometheus scrapes this exporter, unless another one has taken over.",
		},
		off: {
			tone: "idle", label: "service off", one: "cluster has its VPC endpoint service switched off",
			many: "clusters have their VPC endpoint service switched off", here: "The VPC endpoint service is switched off",
			advice: "No client can connect through a VPC endpoint. If this is not on purpose, switch the service on.",
		},
		unread: {
			tone: "idle", label: "not read yet", one: "cluster has not been read yet", many: "clusters have not been read yet",
			here: "This cluster has not been read yet", advice: "This is normal if another exporter is responsible.",
		},
		ok: {tone: "good", label: "ok", here: "No problems"},
		open: {
			tone: "idle", label: "open allowlist", one: "cluster lets every account connect",
			many: "clusters let every account connect", here: "Every account may connect", advice: "A permission is a wildcard.",
		},
		limited: {
			tone: "idle", label: "series omitted", one: "cluster has more connections or permissions than max_connections",
			many:   "clusters have more connections or permissions than max_connections",
			here:   "More connections or permissions than max_connections",
			advice: "The metrics do not show each of them. The page of the cluster does.",
		},
	}
}

// Tone returns bad, warn, good or idle.
func (c condition) Tone() string { return kinds()[c].tone }

// conditions returns everything that is true of the cluster, worst first.
func (c *clusterStatus) conditions() []condition {
	var conditions []condition
	for _, what := range worstFirst() {
		if c.applies(what) || what == ok && len(conditions) == 0 {
			conditions = append(conditions, what)
		}
	}
	return conditions
}

func (c *clusterStatus) applies(what condition) bool {
	switch what {
	case failing:
		return c.Error != nil
	case truncated:
		return c.Truncated != nil && *c.Truncated
	case stale:
		return c.Age != nil && *c.Age > int64(staleAfter/time.Second)
	case off:
		return c.Enabled != nil && !*c.Enabled
	case unread:
		return c.Enabled == nil && c.Error == nil
	case open:
		return c.Wildcard != nil && *c.Wildcard
	case limited:
		return c.Limited != nil && *c.Limited
	}
	return c.number(what) > 0
}

func (c *clusterStatus) number(what condition) int {
	switch what {
	case failed:
		return c.Connections[css.StatusFailed]
	case almostFull:
		return c.almostFull
	case filling:
		return c.filling
	case unlisted:
		if c.Unlisted != nil {
			return *c.Unlisted
		}
	case rejected:
		return c.Connections[css.StatusRejected]
	case pending:
		return c.Connections[css.StatusPendingAcceptance]
	case unknown:
		return c.Connections[css.StatusUnknown]
	}
	return 0
}

func (c *clusterStatus) is(what condition) bool { return slices.Contains(c.Conditions, what) }

func (c *clusterStatus) needsAttention() bool {
	return slices.ContainsFunc(c.Conditions, condition.needsAttention)
}

type finding struct{ Text, Advice, Tone, Address string }

func (c *clusterStatus) Badges() []finding {
	all := kinds()
	var badges []finding
	for _, what := range c.Conditions {
		k := all[what]
		text := k.label
		if n := c.number(what); n > 0 {
			text = fmt.Sprint(n, " ", text)
		}
		badges = append(badges, finding{Text: text, Tone: k.tone})
	}
	return badges
}

// Findings returns a line for each condition of the cluster.
func (c *clusterStatus) Findings() []finding {
	all := kinds()
	var findings []finding
	for _, what := range c.Conditions {
		k := all[what]
		f := finding{Text: k.here, Advice: k.advice, Tone: k.tone}
		if what == failing {
			f.Advice = ""
			if c.list != nil {
				f.Advice = "What this page shows is from the last successful read."
			}
		}
		if n := c.number(what); n > 0 {
			f.Text = plural(n, k.connection, k.connections)
		}
		findings = append(findings, f)
	}
	return findings
}

// findings returns the lines at the top of the list; the first one is also its title.
func (v *view) findings(p parameters) []finding {
	var bad, idle []finding
	add := func(f finding) {
		if f.Tone == "idle" {
			idle = append(idle, f)
		} else {
			bad = append(bad, f)
		}
	}
	if n := v.Totals.FailingAccounts; n > 0 {
		add(finding{
			Text: plural(n, "account's projects cannot be listed", "accounts' projects cannot be listed"), Tone: "bad",
		})
	}
	if n := v.Totals.FailingProjects; n > 0 {
		add(finding{Text: plural(n, "project cannot be read", "projects cannot be read"), Tone: "bad"})
	}
	noneRead := v.Totals.Clusters > 0 && v.Totals.States[unread] == v.Totals.Clusters
	all := kinds()
	for _, what := range worstFirst() {
		n, k := v.Totals.States[what], all[what]
		if n == 0 || what == ok || what == unread && noneRead {
			continue
		}
		address := p.with(func(p *parameters) {
			*p = parameters{sort: p.sort, show: string(what), format: formatHTML, page: 1}
		})
		add(finding{plural(n, k.one, k.many), k.advice, k.tone, address})
	}
	if n := v.Totals.FailingSessions; n > 0 {
		add(finding{
			Text: plural(n, "project's sessions cannot be read", "projects' sessions cannot be read"), Tone: "warn",
			Advice: "Connections are read as usual.",
		})
	}
	if v.Config != nil && !v.Config.OK {
		add(finding{
			Text: "The last configuration reload failed", Tone: "warn",
			Advice: "The previous configuration remains in use. The log says what is wrong.",
		})
	}
	switch {
	case !v.Ready && v.Totals.Clusters == 0:
		add(finding{
			Text: "Discovery has not finished yet", Advice: "Refresh this page in a few seconds.", Tone: "idle",
		})
	case v.Totals.Clusters == 0:
		f := finding{Text: "No clusters found", Tone: "idle"}
		if v.Totals.FailingProjects+v.Totals.FailingAccounts == 0 {
			f.Advice = "Check clusters and discovery in the configuration file. Clusters that are being created are not shown."
		}
		add(f)
	case noneRead:
		add(finding{
			Text: "No cluster has been read yet", Tone: "idle",
			Advice: "Configure Prometheus to scrape this exporter. This page shows the results of scrapes and sends no " +
				"request to the API.",
		})
	case len(bad) == 0:
		add(finding{Text: "No problems in the clusters that were read", Tone: "good"})
	}
	return slices.Concat(bad, idle)
}

func plural(count int, one, many string) string {
	if count == 1 {
		return "1 " + one
	}
	return fmt.Sprint(count, " ", many)
}
