// SPDX-License-Identifier: Apache-2.0

package status

import (
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"
)

// checkCluster checks the text of a cluster's row.
func checkCluster(t *testing.T, c clusterStatus, want string) {
	t.Helper()
	c.Conditions = c.conditions()
	v := emptyView()
	v.Clusters = []clusterStatus{c}
	if got := textOf(rendered(t, v, firstPage())); !strings.Contains(got, "Last successful read "+want) {
		t.Errorf("%s:\nwant %s\ngot  %s", c.Conditions, want, got)
	}
}

func TestTextOfUnreadCluster(t *testing.T) {
	checkCluster(t, clusterStatus{
		ID: "id", Name: "search", Project: "production", Region: "cn-north-4", Engine: "opensearch",
		EngineVersion: "2.19.0",
	}, "not read yet search id production, cn-north-4, opensearch 2.19.0 never")
}

// checkReadCluster checks the texts of a cluster that was read 12 seconds ago: its badges and its connections.
func checkReadCluster(t *testing.T, c clusterStatus, badges, connections string) {
	t.Helper()
	c.ID, c.Project, c.Region, c.LastSuccess = "id", "production", "cn-north-4", noon().Add(-12*time.Second)
	c.Enabled = new(c.Connections != nil)
	if c.Connections != nil && c.Truncated == nil {
		c.Truncated = new(false)
	}
	if connections != "" {
		connections += " "
	}
	checkCluster(t, c, badges+" id production, cn-north-4 "+connections+"12 s ago 2026-11-23T11:59:48Z")
}

func TestTextsOfReadClusters(t *testing.T) {
	type counts = map[css.Status]int
	for _, tc := range []struct {
		cluster             clusterStatus
		badges, connections string
	}{
		{
			clusterStatus{Connections: counts{css.StatusAccepted: 3, css.StatusCreating: 1}, Reported: new(4.0)},
			"ok", "3 accepted 1 creating 4 listed, 4 reported",
		},
		{clusterStatus{Connections: counts{css.StatusAccepted: 0}, Unlisted: new(0)}, "ok", "0 listed"},
		{clusterStatus{}, "service off", ""},
		{
			clusterStatus{Connections: counts{css.StatusRejected: 2, css.StatusFailed: 1}},
			"1 failed 2 rejected", "2 rejected 1 failed 3 listed",
		},
		{
			clusterStatus{Connections: counts{css.StatusAccepted: 8}, Reported: new(33.0), Truncated: new(true)},
			"truncated", "8 accepted 8 listed, 33 reported",
		},
		{
			clusterStatus{Connections: counts{css.StatusPendingAcceptance: 1}},
			"1 pending", "1 pendingAcceptance 1 listed",
		},
		{
			clusterStatus{Connections: counts{css.StatusUnknown: 2}}, "2 of unknown status", "2 unknown 2 listed",
		},
		{
			clusterStatus{
				Connections: counts{css.StatusAccepted: 2, css.StatusRejected: 1}, Unlisted: new(1), Permissions: new(1),
				Wildcard: new(false),
			},
			"1 unlisted 1 rejected", "2 accepted 1 rejected 3 listed, 1 permission",
		},
		{
			clusterStatus{Connections: counts{css.StatusAccepted: 2}, Permissions: new(2), Wildcard: new(true)},
			"ok open allowlist", "2 accepted 2 listed, 2 permissions",
		},
		{
			clusterStatus{Connections: counts{css.StatusAccepted: 2}, Limited: new(true)},
			"ok series omitted", "2 accepted 2 listed",
		},
		{clusterStatus{Connections: counts{css.StatusAccepted: 0}, Age: new(int64(901))}, "stale", "0 listed"},
	} {
		checkReadCluster(t, tc.cluster, tc.badges, tc.connections)
	}
}

func TestTextOfFailingCluster(t *testing.T) {
	checkReadCluster(t, clusterStatus{
		Connections: map[css.Status]int{css.StatusAccepted: 2, css.StatusRejected: 1}, Error: &failure{
			Reason: cloud.ReasonDenied, HTTPStatus: 403, Code: "CSS.0015", RequestID: "r1", Message: "No.",
			Hint: "ask for it", Since: noon().Add(-3 * time.Hour), Last: noon(),
		},
	}, "unreadable 1 rejected", "denied HTTP 403 CSS.0015 No. Request ID r1 What to do: Ask for it. "+
		"First failed 3 h ago 2026-11-23T09:00:00Z, last failed just now 2026-11-23T12:00:00Z "+
		"From the last successful read: 2 accepted 1 rejected 3 listed")
}

func TestTextsOfProjects(t *testing.T) {
	for _, tc := range []struct {
		project projectStatus
		want    string
	}{
		{
			projectStatus{Name: "n", Region: "r", State: unread, Discovery: discoveryStatus{Enabled: true}},
			"not refreshed yet n r unknown Discovery is on. It has not succeeded yet.",
		},
		{
			projectStatus{Name: "n", Region: "r", ID: "p1", State: ok},
			"ok n r p1 Discovery is off: only clusters listed in the configuration file are read.",
		},
		{
			projectStatus{
				Name: "n", Region: "r", ID: "p1", State: failing,
				Error:     &failure{Reason: cloud.ReasonAuth, HTTPStatus: 401, Message: "no", Hint: "check"},
				Discovery: discoveryStatus{Enabled: true, LastSuccess: noon().Add(-2 * time.Minute), Clusters: new(0)},
			},
			"failing n r p1 auth HTTP 401 no What to do: Check. Discovery is on, clusters found: 0. " +
				"Last success 2 min ago 2026-11-23T11:58:00Z",
		},
	} {
		v := emptyView()
		v.Projects = []projectStatus{tc.project}
		if got := textOf(rendered(t, v, firstPage())); !strings.Contains(got, tc.want) {
			t.Errorf("%s:\nwant %s\ngot  %s", tc.project.State, tc.want, got)
		}
	}
}
