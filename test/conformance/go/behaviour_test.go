// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"
	"slices"
	"testing"

	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/test/conformance/go/fleet"

	"github.com/google/go-cmp/cmp"
)

// behaviour is a call that every client makes, with its expected result.
type behaviour struct {
	name    string
	project string
	cluster string // empty: list of clusters
	skip    int    // -1: unset
	limit   int    // -1: unset
	other   bool   // uses the API with the paging that the client does not support
	status  int    // of the error, if one is expected
	code    string
}

// behaviours returns all calls; unset parameters are not sent.
func behaviours() []behaviour {
	const no = -1
	return []behaviour{
		{"the vendor's example", fleet.Permanent, fleet.Sample, no, no, false, 0, ""},
		{"connections, no parameters", fleet.Permanent, fleet.Pages, no, no, false, 0, ""},
		{"limit 1,000", fleet.Permanent, fleet.Pages, no, 1000, false, 0, ""},
		{"limit 1", fleet.Permanent, fleet.Pages, no, 1, false, 0, ""},
		{"skip 0", fleet.Permanent, fleet.Pages, 0, no, false, 0, ""},
		{"skip 10, limit 10", fleet.Permanent, fleet.Pages, 10, 10, false, 0, ""},
		{"skip 20, limit 10: the last page", fleet.Permanent, fleet.Pages, 20, 10, false, 0, ""},
		{"skip 23, limit 10: beyond the end", fleet.Permanent, fleet.Pages, 23, 10, false, 0, ""},
		{"skip 500, limit 1,000: far beyond the end", fleet.Permanent, fleet.Pages, 500, 1000, false, 0, ""},
		{"1,203 connections, limit 1,000", fleet.Permanent, fleet.Many, no, 1000, false, 0, ""},
		{"1,203 connections, skip 999", fleet.Permanent, fleet.Many, 999, 1000, false, 0, ""},
		{"1,203 connections, skip 1,000", fleet.Permanent, fleet.Many, 1000, 1000, false, 0, ""},
		{"skip 1,001: more than the API takes", fleet.Permanent, fleet.Many, 1001, 1000, false, 400, "CSS.0001"},
		{"limit 1,001: more than the API takes", fleet.Permanent, fleet.Pages, no, 1001, false, 400, "CSS.0001"},
		{"no connections", fleet.Permanent, fleet.Empty, no, no, false, 0, ""},
		{"nothing that may be left out", fleet.Permanent, fleet.Plain, no, no, false, 0, ""},
		{"a cluster id that needs escaping", fleet.Permanent, fleet.OddID, no, no, false, 0, ""},
		{"VPC endpoint service off", fleet.Permanent, fleet.Off, no, no, false, 400, "CSS.5182"},
		{"no such cluster", fleet.Permanent, fleet.Missing, no, no, false, 403, "CSS.0015"},
		{"the other way to page, skip 10, limit 10", fleet.Older, fleet.OlderPages, 10, 10, true, 0, ""},
		{"the other way to page, 1,203 connections", fleet.Older, fleet.OlderMany, 999, 1000, true, 0, ""},
		{"temporary keys with their token", fleet.Temporary, fleet.Of(fleet.Temporary), no, no, false, 0, ""},
		{"temporary keys without their token", fleet.Tokenless, fleet.Of(fleet.Tokenless), no, no, false, 401, "APIGW.0307"},
		{"temporary keys with another token", fleet.OtherToken, fleet.Of(fleet.OtherToken), no, no, false, 401, "APIGW.0307"},
		{"a wrong secret key", fleet.WrongSecret, fleet.Of(fleet.WrongSecret), no, no, false, 401, "APIGW.0301"},
		{"an unknown access key", fleet.UnknownKey, fleet.Of(fleet.UnknownKey), no, no, false, 401, "APIGW.0303"},
		{"somebody else's project", fleet.Foreign, fleet.Of(fleet.Foreign), no, no, false, 403, "APIGW.0302"},
		{"clusters, no parameters", fleet.Permanent, "", no, no, false, 0, ""},
		{"clusters, limit 1,000", fleet.Permanent, "", no, 1000, false, 0, ""},
		{"clusters, skip 10, limit 2", fleet.Permanent, "", 10, 2, false, 0, ""},
		{"clusters, skip 13: beyond the end", fleet.Permanent, "", 13, 10, false, 0, ""},
		{"clusters, temporary keys with their token", fleet.Temporary, "", no, no, false, 0, ""},
		{"clusters, a wrong secret key", fleet.WrongSecret, "", no, no, false, 401, "APIGW.0301"},
	}
}

// request returns the call of a client.
func (b behaviour) request(c *client, at cloud) request {
	r := request{Call: "connections", Endpoint: at.endpoint(c, b.other), Project: b.project, Cluster: b.cluster}
	if b.cluster == "" {
		r.Call = "clusters"
	}
	if b.skip >= 0 {
		r.Skip = &b.skip
	}
	if b.limit >= 0 {
		r.Limit = &b.limit
	}
	return r
}

// want returns the expected result from the values of the fleet.
func (b behaviour) want(c *client, s *simulator.Simulator) answer {
	skip, limit := max(b.skip, 0), b.limit
	if limit < 0 {
		limit = 10
	}
	switch {
	case b.status != 0:
		return answer{Error: &refusal{&b.status, &b.code}}
	case b.cluster == "":
		return clusterPage(s.Clusters(b.project), skip, limit)
	case b.other: // unknown parameters are ignored
		skip = 0
	case c.byStart && skip == 1000: // from 1 to 1,000
		return answer{Error: &refusal{new(400), new("CSS.0001")}}
	}
	found, ok := s.Cluster(b.project, b.cluster)
	if !ok {
		panic("the fleet has no " + b.cluster)
	}
	return page(found, skip, limit)
}

// differs returns the difference between two results. SDKs may miss the error codes of CSS itself.
func differs(want, got answer) string {
	if want.Error != nil && got.Error != nil && got.Error.Status != nil {
		code := text(got.Error.Code)
		if *got.Error.Status == *want.Error.Status && code != *want.Error.Code &&
			slices.Contains([]string{"", fmt.Sprint(*got.Error.Status)}, code) && (*want.Error.Code)[:4] == "CSS." {
			return ""
		}
	}
	return cmp.Diff(want, got)
}

// TestBehaviour compares what all clients and the exporter read from the fleet.
func TestBehaviour(t *testing.T) {
	byOffset := fleet.New(simulator.Options{})
	byStart := fleet.New(simulator.Options{ConnectionsByStart: true})
	at := cloud{byOffset.Serve(t), byStart.Serve(t)}
	clients := newClients(t)
	exporter := export(t, at)

	result := &table{head: []string{"What is asked for"}}
	for _, c := range clients {
		result.head = append(result.head, fmt.Sprintf("SDK for %s %s", c.name, c.version(t)))
	}
	result.head = append(result.head, "Exporter")
	for _, b := range behaviours() {
		cells := []string{b.name}
		for _, c := range clients {
			got := c.ask(t, b.request(c, at))
			if diff := differs(b.want(c, byOffset), got); diff != "" {
				t.Errorf("%s: %s (-want +got):\n%s", b.name, c.name, diff)
			}
			cells = append(cells, got.summary())
		}
		result.add(append(cells, exporter.cell(t, b))...)
	}
	checkPage(t, "behaviour", result.String())

	for _, c := range clients {
		compareWithExporter(t, c, at, byOffset, exporter)
	}
	for _, s := range []*simulator.Simulator{byOffset, byStart} {
		for _, r := range s.Requests() {
			if r.Endpoint != simulator.Connections && r.Endpoint != simulator.Clusters {
				t.Errorf("unexpected request %s %s", r.Method, r.Path)
			}
		}
	}
}

// compareWithExporter compares all readable clusters, read page by page, with /metrics.
func compareWithExporter(t *testing.T, c *client, at cloud, s *simulator.Simulator, e *exported) {
	t.Helper()
	compared := 0
	for _, project := range []string{fleet.Permanent, fleet.Temporary} {
		for _, x := range s.Clusters(project) {
			if x.ServiceOff {
				continue
			}
			whole := c.all(t, at, project, x.ID)
			got, ok := e.clusters[x.ID]
			if !ok {
				t.Errorf("%s is missing in /metrics", x.ID)
				continue
			}
			if diff := cmp.Diff(show(whole), got); diff != "" {
				t.Errorf("%s: the SDK for %s (-) and the exporter (+):\n%s", x.Name, c.name, diff)
			}
			compared++
		}
		listed := c.ask(t, request{Call: "clusters", Endpoint: at.endpoint(c, false), Project: project, Limit: new(1000)})
		if diff := cmp.Diff(infos(listed), e.infos[project]); diff != "" {
			t.Errorf("clusters of %s: the SDK for %s (-) and the exporter (+):\n%s", project, c.name, diff)
		}
	}
	if compared != fleet.Clusters-1+1 { // without that with a disabled service, and one of Temporary
		t.Errorf("%d clusters compared", compared)
	}
}

// all reads a cluster in pages of 999, the largest with which paging by start can read 1,203 connections.
func (c *client) all(t *testing.T, at cloud, project, id string) answer {
	t.Helper()
	const size = 999
	var whole answer
	for skip := 0; ; skip += size {
		next := c.ask(t, request{
			Call: "connections", Endpoint: at.endpoint(c, false), Project: project, Cluster: id, Skip: &skip, Limit: new(size),
		})
		if next.Error != nil || next.Connections == nil {
			t.Fatalf("%s: %s: %s", id, c.name, next.summary())
		}
		if skip == 0 {
			whole = next
		} else {
			*whole.Connections = append(*whole.Connections, *next.Connections...)
		}
		if len(*next.Connections) < size {
			return whole
		}
	}
}
