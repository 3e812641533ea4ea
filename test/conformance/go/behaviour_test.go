// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/test/conformance/go/fleet"

	"github.com/google/go-cmp/cmp"
)

// behaviour is a call that all clients make, with the expected error, if any.
type behaviour struct {
	name        string
	project     string // default: fleet.Permanent
	cluster     string // empty: list the clusters
	skip, limit *int   // nil: not sent
	otherPaging bool   // call the API with the paging that the client does not support
	err         *apiError
}

// behaviours returns the rows of the table.
func behaviours() []behaviour {
	rejected := func(name, project string, status int, code string) behaviour {
		return behaviour{name: name, project: project, cluster: fleet.ClusterOf(project), err: newError(status, code)}
	}
	rows := []behaviour{
		{name: "the vendor's example", cluster: fleet.VendorExample},
		{name: "connections, no parameters", cluster: fleet.Pages},
		{name: "limit 1,000", cluster: fleet.Pages, limit: new(1000)},
		{name: "limit 1", cluster: fleet.Pages, limit: new(1)},
		{name: "skip 0", cluster: fleet.Pages, skip: new(0)},
		{name: "skip 10, limit 10", cluster: fleet.Pages, skip: new(10), limit: new(10)},
		{name: "skip 20, limit 10: the last page", cluster: fleet.Pages, skip: new(20), limit: new(10)},
		{name: "skip 23, limit 10: beyond the end", cluster: fleet.Pages, skip: new(23), limit: new(10)},
		{name: "skip 500, limit 1,000: far beyond the end", cluster: fleet.Pages, skip: new(500), limit: new(1000)},
		{name: "1,203 connections, limit 1,000", cluster: fleet.ManyConnections, limit: new(1000)},
		{name: "1,203 connections, skip 999", cluster: fleet.ManyConnections, skip: new(999), limit: new(1000)},
		{name: "1,203 connections, skip 1,000", cluster: fleet.ManyConnections, skip: new(1000), limit: new(1000)},
		{name: "skip 1,001: more than the API allows", cluster: fleet.ManyConnections,
			skip: new(1001), limit: new(1000), err: newError(400, "CSS.0001")},
		{name: "limit 1,001: more than the API allows", cluster: fleet.Pages, limit: new(1001),
			err: newError(400, "CSS.0001")},
		{name: "no connections", cluster: fleet.Empty},
		{name: "no optional fields", cluster: fleet.NoOptionalFields},
		{name: "a cluster ID that needs escaping", cluster: fleet.EscapedID},
		{name: "VPC endpoint service off", cluster: fleet.ServiceOff, err: newError(400, "CSS.5182")},
		{name: "an unknown cluster", cluster: fleet.Missing, err: newError(403, "CSS.0015")},
		{name: "the other way to page, skip 10, limit 10", project: fleet.OlderRegion, cluster: fleet.OlderPages,
			skip: new(10), limit: new(10), otherPaging: true},
		{name: "the other way to page, 1,203 connections", project: fleet.OlderRegion, cluster: fleet.OlderMany,
			skip: new(999), limit: new(1000), otherPaging: true},
		{name: "temporary keys with their token", project: fleet.Temporary, cluster: fleet.ClusterOf(fleet.Temporary)},
		rejected("temporary keys without their token", fleet.Tokenless, 401, "APIGW.0307"),
		rejected("temporary keys with another token", fleet.OtherToken, 401, "APIGW.0307"),
		rejected("a wrong secret key", fleet.WrongSecret, 401, "APIGW.0301"),
		rejected("an unknown access key", fleet.UnknownKey, 401, "APIGW.0303"),
		rejected("another account's project", fleet.Foreign, 403, "APIGW.0302"),
		{name: "clusters, no parameters"},
		{name: "clusters, limit 1,000", limit: new(1000)},
		{name: "clusters, skip 10, limit 2", skip: new(10), limit: new(2)},
		{name: "clusters, skip 13: beyond the end", skip: new(13), limit: new(10)},
		{name: "clusters, temporary keys with their token", project: fleet.Temporary},
		{name: "clusters, a wrong secret key", project: fleet.WrongSecret, err: newError(401, "APIGW.0301")},
	}
	for i := range rows {
		if rows[i].project == "" {
			rows[i].project = fleet.Permanent
		}
	}
	return rows
}

func (b behaviour) request(c *client, at endpoints) request {
	r := request{
		Call: "connections", Endpoint: at.withPagingOf(c), Project: b.project, Cluster: b.cluster,
		Skip: b.skip, Limit: b.limit,
	}
	if b.otherPaging {
		r.Endpoint = at.withOtherPaging(c)
	}
	if b.cluster == "" {
		r.Call = "clusters"
	}
	return r
}

// want returns the expected result of a client.
func (b behaviour) want(c *client, s *simulator.Simulator) answer {
	skip, limit := 0, 10
	if b.skip != nil {
		skip = *b.skip
	}
	if b.limit != nil {
		limit = *b.limit
	}
	switch {
	case b.err != nil:
		return answer{Error: b.err}
	case b.cluster == "":
		return wantClusters(s.Clusters(b.project), skip, limit)
	case b.otherPaging: // the API ignores the parameter
		skip = 0
	case c.byStart && skip == 1000: // the maximum of start is 1,000, which skips 999
		return answer{Error: newError(400, "CSS.0001")}
	}
	cluster, ok := s.Cluster(b.project, b.cluster)
	if !ok {
		panic("the fleet has no cluster " + b.cluster)
	}
	return wantConnections(cluster, skip, limit)
}

// diffAnswers returns the difference between two results. It accepts a missing code in errors of CSS itself, whose
// format the SDKs do not read.
func diffAnswers(want, got answer) string {
	if want.Error != nil && got.Error != nil && got.Error.Status != nil {
		status, code := *got.Error.Status, text(got.Error.Code)
		noCode := code == "" || code == strconv.Itoa(status)
		if noCode && status == *want.Error.Status && strings.HasPrefix(*want.Error.Code, "CSS.") {
			return ""
		}
	}
	return cmp.Diff(want, got)
}

func TestClientsAndExporterReadTheFleetCorrectly(t *testing.T) {
	byOffset := fleet.New(simulator.Options{})
	byStart := fleet.New(simulator.Options{ConnectionsPaging: simulator.ByStart})
	at := endpoints{byOffset.Serve(t), byStart.Serve(t)}
	clients := newClients(t)
	exporter := scrapeExporter(t, at)

	results := &table{head: []string{"Call"}}
	for _, c := range clients {
		results.head = append(results.head, fmt.Sprintf("SDK for %s %s", c.name, c.version(t)))
	}
	results.head = append(results.head, "Exporter")
	for _, b := range behaviours() {
		cells := []string{b.name}
		for _, c := range clients {
			got := c.call(t, b.request(c, at))
			if diff := diffAnswers(b.want(c, byOffset), got); diff != "" {
				t.Errorf("%s: %s (-want +got):\n%s", b.name, c.name, diff)
			}
			cells = append(cells, got.summary())
		}
		results.add(append(cells, exporter.cell(t, b))...)
	}
	checkPage(t, "behaviour", results.String())

	for _, c := range clients {
		compareClusters(t, c, at, byOffset, exporter)
		compareClusterInfo(t, c, at, exporter)
	}
	for _, s := range []*simulator.Simulator{byOffset, byStart} {
		for _, r := range s.Requests() {
			if r.Endpoint != simulator.Connections && r.Endpoint != simulator.Clusters {
				t.Errorf("unexpected request %s %s", r.Method, r.Path)
			}
		}
	}
}

// compareClusters compares all readable clusters, read page by page, with /metrics.
func compareClusters(t *testing.T, c *client, at endpoints, s *simulator.Simulator, e *exporterResult) {
	t.Helper()
	compared := 0
	for _, project := range []string{fleet.Permanent, fleet.Temporary} {
		for _, cluster := range s.Clusters(project) {
			if cluster.ServiceOff {
				continue
			}
			got, ok := e.clusters[cluster.ID]
			if !ok {
				t.Errorf("%s is missing in /metrics", cluster.ID)
				continue
			}
			if diff := cmp.Diff(wantMetrics(c.readAllPages(t, at, project, cluster.ID)), got); diff != "" {
				t.Errorf("%s: the SDK for %s (-) and the exporter (+):\n%s", cluster.Name, c.name, diff)
			}
			compared++
		}
	}
	// All of Permanent except ServiceOff, and one of Temporary.
	if want := fleet.PermanentClusters - 1 + 1; compared != want {
		t.Errorf("%s: got %d clusters to compare, want %d", c.name, compared, want)
	}
}

// compareClusterInfo compares the lists of clusters with css_vpcep_cluster_info.
func compareClusterInfo(t *testing.T, c *client, at endpoints, e *exporterResult) {
	t.Helper()
	for _, project := range []string{fleet.Permanent, fleet.Temporary} {
		listed := c.call(t, request{
			Call: "clusters", Endpoint: at.withPagingOf(c), Project: project, Limit: new(1000),
		})
		if diff := cmp.Diff(wantClusterInfo(listed), e.clusterInfo[project]); diff != "" {
			t.Errorf("clusters of %s: the SDK for %s (-) and the exporter (+):\n%s", project, c.name, diff)
		}
	}
}

// readAllPages reads a cluster in pages of 999, the largest with which paging by start can read 1,203 connections.
func (c *client) readAllPages(t *testing.T, at endpoints, project, id string) answer {
	t.Helper()
	const size = 999
	var whole answer
	for skip := 0; ; skip += size {
		page := c.call(t, request{
			Call: "connections", Endpoint: at.withPagingOf(c), Project: project, Cluster: id,
			Skip: &skip, Limit: new(size),
		})
		if page.Error != nil || page.Connections == nil {
			t.Fatalf("%s: %s: %s", id, c.name, page.summary())
		}
		if skip == 0 {
			whole = page
		} else {
			*whole.Connections = append(*whole.Connections, *page.Connections...)
		}
		if len(*page.Connections) < size {
			return whole
		}
	}
}
