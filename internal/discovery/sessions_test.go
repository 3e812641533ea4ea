// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"strings"
	"testing"

	"css_vpcep_exporter/internal/ces"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/sessions"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

type fixedID struct{}

func (fixedID) KnownID() string { return simtest.ProjectID }

func newSessions(c *simtest.Cloud) *sessions.Reader {
	client := cloud.NewClient(cloud.Options{
		Region: simtest.Region, Keys: cloud.NewKeys(), Retry: cloud.Retry{Tries: 1},
		Credentials: credentials.NewFiles(
			cloud.Credentials{AccessKey: simtest.AccessKey, SecretKey: simtest.SecretKey}, cloud.Credentials{}),
		Transport: &simtest.RoundTripper{Handler: c},
	})
	return sessions.New(ces.NewClient(client, "http://cloud.invalid", fixedID{}, func(map[string]int) {}), 500, discardLogger())
}

// TestSessionsOfProjectsWithTheSameID shows that they share series, which show the worst state.
func TestSessionsOfProjectsWithTheSameID(t *testing.T) {
	c := simtest.NewUnserved(simulator.Options{})
	var projects []Project
	for _, name := range []string{"a", "b", "without"} {
		p := newProject(c, simtest.ProjectID, nil)
		p.Key, p.Name = name, name
		if name != "without" {
			p.Sessions = newSessions(c)
		}
		projects = append(projects, p)
	}
	fleet := NewFleet(projects, discardLogger())
	const up, lastSuccess = "css_vpcep_sessions_up", "css_vpcep_sessions_last_success_timestamp_seconds"
	if n := testutil.CollectAndCount(fleet, up, lastSuccess); n != 0 {
		t.Errorf("before a read, got %d series, want none", n)
	}
	if err := projects[0].Sessions.Read(t.Context(), []string{"e1"}); err != nil {
		t.Fatal(err)
	}
	checkUp := func(want string) {
		t.Helper()
		text := "# HELP " + up + " Whether the last read of the project's sessions from Cloud Eye succeeded (1) or not (0).\n" +
			"# TYPE " + up + " gauge\n" + up + `{project_id="p1",region="cn-north-4"} ` + want + "\n"
		if err := testutil.CollectAndCompare(fleet, strings.NewReader(text), up); err != nil {
			t.Error(err)
		}
	}
	checkUp("1")
	if n := testutil.CollectAndCount(fleet, lastSuccess); n != 1 {
		t.Errorf("after a read, got %d times of success, want 1", n)
	}
	c.SetCloudEye(simtest.ProjectID, simulator.CloudEye{Denied: true})
	if err := projects[1].Sessions.Read(t.Context(), []string{"e1"}); cloud.ReasonOf(err) != cloud.ReasonDenied {
		t.Errorf("got %v, want denied", err)
	}
	checkUp("0")
	if n := testutil.CollectAndCount(fleet, lastSuccess); n != 0 {
		t.Errorf("got %d times of success, want none while one project was never read", n)
	}
}
