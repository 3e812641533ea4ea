// SPDX-License-Identifier: Apache-2.0

package diagnose

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/diagnose/apifacts"
	"css_vpcep_exporter/internal/diagnose/report"
)

// maxExtraPages returns the number of pages after the first, of all clusters that are read.
func (s *session) maxExtraPages() int {
	if s.p.Sessions != nil {
		return 3 - requestsForSessions
	}
	return 3
}

// reading is what was read of a cluster's connections, with an ID for each on the first page.
type reading struct {
	apifacts.List
	cluster     *css.Cluster
	err         error
	pages       int
	slowest     time.Duration
	connections []css.Connection
	seen        map[string]struct{}
}

// read reads the first page of a cluster's connections and, as far as the diagnosis may, the next ones.
func (s *session) read(ctx context.Context, c *css.Cluster) *reading {
	r := &reading{cluster: c, seen: make(map[string]struct{})}
	r.ClusterID = c.ID
	s.readings = append(s.readings, r)
	received := 0
	for {
		query := url.Values{"limit": {"1000"}}
		if received > 0 {
			query.Set("offset", strconv.Itoa(received))
		}
		page, err := s.timedPage(ctx, r, query)
		switch {
		case r.pages > 0 && (errors.Is(err, apifacts.ErrLimit) || css.RefusesPage(err) || ctx.Err() != nil):
			r.More = true
			return r
		case err != nil:
			r.err = err
			return r
		case !page.Enabled:
			r.Off = true
			return r
		}
		fresh := r.add(page)
		received += len(page.Connections)
		if fresh == 0 || r.HasReported && float64(len(r.IDs)) >= r.Reported {
			return r
		}
		if s.extra >= s.maxExtraPages() || s.p.Meter.left() == 0 {
			r.More = true
			return r
		}
		s.extra++
	}
}

// needed returns the number of pages of the whole list.
func (r *reading) needed() int {
	if !r.More || len(r.First) == 0 {
		return r.pages
	}
	return max(r.pages, int(math.Ceil(min(r.Reported, 100_000)/float64(len(r.First)))))
}

func (r *reading) add(page *css.ConnectionList) (fresh int) {
	r.pages++
	for _, c := range page.Connections {
		if r.pages == 1 {
			r.First = append(r.First, c.ID)
		}
		if _, known := r.seen[c.Identity()]; !known {
			r.seen[c.Identity()] = struct{}{}
			r.IDs = append(r.IDs, c.ID)
			r.connections = append(r.connections, c)
			fresh++
		}
	}
	if page.Reported.Set {
		r.Reported, r.HasReported = page.Reported.Value, true
	}
	r.NoCount = r.NoCount || page.Unparsable["total_count"] > 0
	if page.Permissions.Set && !r.HasPermissions {
		r.HasPermissions, r.Permissions = true, page.Permissions.Value
	}
	return fresh
}

// page requests one page, and collects the shapes of what it has.
func (s *session) page(ctx context.Context, clusterID string, query url.Values) (*css.ConnectionList, error) {
	r := &reading{}
	r.ClusterID = clusterID
	return s.timedPage(ctx, r, query)
}

// timedPage is page for a reading, which records how long it takes without the wait for the request budget.
func (s *session) timedPage(
	ctx context.Context, r *reading, query url.Values,
) (page *css.ConnectionList, err error) {
	var body []byte
	err = s.call(ctx, func(ctx context.Context) (err error) {
		start := time.Now()
		page, body, err = s.p.CSS.ConnectionsPage(ctx, r.ClusterID, query)
		r.slowest = max(r.slowest, time.Since(start))
		return err
	})
	if err == nil {
		s.shapes.Connections(body)
	}
	return page, err
}

func (s *session) readConnections(ctx context.Context) {
	chosen := s.targets[:min(maxRead, len(s.targets))]
	if why := s.blocked(); why != "" || len(chosen) == 0 {
		s.step(ctx, "connections", func(context.Context) report.Finding {
			switch {
			case why != "":
				return report.Skippedf("%s", why)
			case s.clusters.err != nil:
				return report.Skippedf("the cluster list could not be read")
			}
			return report.Skippedf("there is no cluster to be scraped")
		})
		return
	}
	for i := range chosen {
		ctx := ctx
		if i < len(s.readings) && s.readings[i].err == nil { // shown even if interrupted since
			ctx = context.WithoutCancel(ctx)
		}
		s.step(ctx, fmt.Sprintf("connections %d/%d", i+1, len(chosen)), func(ctx context.Context) report.Finding {
			if i < len(s.readings) { // by authenticate
				return s.judgeReading(s.readings[i])
			}
			if why := s.stopped(); why != "" {
				return report.Skippedf("%s: %s", describeCluster(&chosen[i]), why)
			}
			return s.judgeReading(s.read(ctx, &chosen[i]))
		})
	}
}

func describeCluster(c *css.Cluster) string {
	if c.Name == "" {
		return report.Label(c.ID)
	}
	return report.Label(c.Name) + " (" + report.Label(c.ID) + ")"
}

func (s *session) judgeReading(r *reading) report.Finding {
	who := describeCluster(r.cluster)
	switch {
	case r.err != nil:
		f := s.stop(r.err)
		f.Text = who + ": " + f.Text
		return f
	case r.Off:
		return report.OKf("%s: the VPC endpoint service is off", who)
	}
	byStatus := make(map[css.Status]int)
	for i := range r.connections {
		byStatus[r.connections[i].KnownStatus()]++
	}
	var parts []string
	for _, status := range css.Statuses() {
		if n := byStatus[status]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, status))
		}
	}
	text := fmt.Sprintf("%s: enabled; %s", who, report.Count(len(r.IDs), "connection", "connections"))
	if r.HasReported && r.Reported != float64(len(r.IDs)) {
		text += fmt.Sprintf(" of %.16g reported", r.Reported)
	}
	if len(parts) > 0 {
		text += " (" + strings.Join(parts, ", ") + ")"
	}
	text += ", " + report.Count(r.pages, "page", "pages")
	if r.More {
		text += "; further pages were not read"
	}
	if r.HasPermissions {
		text += ", " + report.Count(len(r.Permissions), "permission", "permissions")
	}
	return report.OKf("%s, in %s", text, report.Took(r.slowest))
}

// observe finds facts about the API, unless more requests would fail too.
func (s *session) observe(ctx context.Context) {
	s.api.Stopped = "interrupted"
	s.step(ctx, "API facts", func(ctx context.Context) report.Finding {
		if s.api.Stopped = cmp.Or(s.blocked(), s.stopped(), s.failing()); s.api.Stopped != "" {
			return report.Skippedf("%s", s.api.Stopped)
		}
		s.api.Observe(ctx, s.page, s.lists())
		if s.api.Stopped != "" {
			return report.Skippedf("not all were found: %s", s.api.Stopped)
		}
		return report.OKf("see the end; %d requests were sent in all", MaxRequests-s.p.Meter.left())
	})
}

// failing returns why more requests would fail too, or "".
func (s *session) failing() string {
	err := s.clusters.err
	for _, r := range s.readings {
		if r.err == nil {
			return ""
		}
		err = r.err
	}
	if err == nil {
		return ""
	}
	switch reason := cloud.ReasonOf(err); reason {
	case cloud.ReasonDenied, cloud.ReasonNotFound, cloud.ReasonInvalid:
		return ""
	default:
		return "requests fail: " + string(reason)
	}
}

func (s *session) lists() (lists []*apifacts.List) {
	for _, r := range s.readings {
		if r.err == nil {
			lists = append(lists, &r.List)
		}
	}
	return lists
}

func (s *session) facts() []string {
	region := ""
	if s.p.Public {
		region = s.p.Region
	}
	return slices.Concat(apifacts.Lines(region, &s.api, s.shapes, s.lists(), s.p.Meter.seen()), s.sessions.Lines())
}
