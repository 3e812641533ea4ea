// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"
)

// A minute of the rules lasts a second in this test, and a day a minute.
const (
	minute = time.Second
	day    = 60 * time.Second
)

// incident is what happens to a project, and the alerts that must fire.
type incident struct {
	project  string
	clusters int
	happens  func(*incidentCloud)
	// fires has the time from the incident to each alert, in minutes of the rules.
	fires map[string]float64
	// resolves has the alerts that end before the test does.
	resolves []string
}

const (
	fixDark = 30 * minute // after which the clusters of the project can be read again
	watched = day + 15*minute
)

func incidents() []incident {
	dayInMinutes := day.Seconds() / minute.Seconds()
	return []incident{
		{project: "healthy", clusters: 4, happens: func(*incidentCloud) {}},
		{
			project: "dark", clusters: 4, happens: (*incidentCloud).failAllReads,
			fires:    map[string]float64{"CSSVPCEPScrapeFailing": 15, "CSSVPCEPProjectUnreadable": 15},
			resolves: []string{"CSSVPCEPScrapeFailing", "CSSVPCEPProjectUnreadable"},
		},
		{
			project: "deleted", clusters: 1, happens: (*incidentCloud).deleteMostConnections,
			fires:    map[string]float64{"CSSVPCEPConnectionsLost": 10},
			resolves: []string{"CSSVPCEPConnectionsLost"}, // after a day
		},
		{
			project: "shrunk", clusters: 4, happens: (*incidentCloud).hideMostClusters,
			fires:    map[string]float64{"CSSVPCEPClustersVanished": 15},
			resolves: []string{"CSSVPCEPClustersVanished"}, // after a day
		},
		{
			project: "wrong-key", clusters: 2, happens: func(*incidentCloud) {}, // wrong from the start
			fires: map[string]float64{
				"CSSVPCEPCredentialsRejected": 5, "CSSVPCEPDiscoveryFailing": 15, "CSSVPCEPProjectUnreadable": 15,
			},
		},
		{
			project: "rejected", clusters: 1, happens: (*incidentCloud).rejectConnection,
			fires: map[string]float64{
				"CSSVPCEPConnectionRejected": 5, "CSSVPCEPConnectionStillRejected": dayInMinutes + 5,
			},
			resolves: []string{"CSSVPCEPConnectionRejected"},
		},
	}
}

type incidentCloud struct {
	*cloud
	clustersOf map[string][]string // IDs by project
}

func newIncidentCloud(t *testing.T) *incidentCloud {
	t.Helper()
	c := &incidentCloud{
		cloud:      &cloud{Cloud: simtest.New(t, simulator.Options{}), clusters: make(map[string]clusterLabels)},
		clustersOf: make(map[string][]string),
	}
	for _, i := range incidents() {
		p := simulator.Project{
			Name: i.project, Region: simtest.Region, ID: "project-" + i.project,
			Keys: []simulator.Key{{Access: accessKey(i.project, 0), Secret: simtest.SecretKey}},
		}
		c.AddProject(p)
		for n := range i.clusters {
			c.clustersOf[i.project] = append(c.clustersOf[i.project], c.addCluster(p, fmt.Sprint(i.project, "-", n), 40))
		}
	}
	return c
}

func (c *incidentCloud) failAllReads() {
	for _, id := range c.clustersOf["dark"] {
		c.FailReads(id, simulator.Fault{Status: http.StatusInternalServerError, Body: "backend is down"})
	}
}

func (c *incidentCloud) fixReads() {
	for _, id := range c.clustersOf["dark"] {
		c.FailReads(id)
	}
}

func (c *incidentCloud) deleteMostConnections() {
	c.UpdateCluster(c.clustersOf["deleted"][0], func(cluster *simulator.Cluster) {
		cluster.Connections = cluster.Connections[:1]
	})
}

func (c *incidentCloud) hideMostClusters() {
	for _, id := range c.clustersOf["shrunk"][1:] {
		c.RemoveCluster(id)
	}
}

func (c *incidentCloud) rejectConnection() {
	c.UpdateCluster(c.clustersOf["rejected"][0], func(cluster *simulator.Cluster) {
		cluster.Connections[0].Status = "rejected"
	})
}

func (c *incidentCloud) config() string {
	var b strings.Builder
	b.WriteString("projects:\n")
	for _, i := range incidents() {
		secret := simtest.SecretKey
		if i.project == "wrong-key" {
			secret = "a-secret-that-is-wrong"
		}
		fmt.Fprintf(&b, "  - {name: %s, region: %s, project_id: project-%[1]s, endpoint: %[3]q, discovery: {refresh_interval: 10s}, "+
			"credentials: {access_key: %s, secret_key: %s}}\n", i.project, simtest.Region, c.URL, accessKey(i.project, 0), secret)
	}
	return b.String()
}

// scaledRules returns alerts.yml with shorter durations.
func scaledRules(t *testing.T) string {
	t.Helper()
	rules, err := os.ReadFile("../../deploy/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	durations := regexp.MustCompile(`(\[|offset |for: )(\d+)([mhd])\b`)
	return durations.ReplaceAllStringFunc(string(rules), func(text string) string {
		part := durations.FindStringSubmatch(text)
		n, err := strconv.Atoi(part[2])
		if err != nil {
			t.Fatal(err)
		}
		unit := map[string]time.Duration{"m": minute, "h": 60 * minute, "d": day}[part[3]]
		return fmt.Sprintf("%s%dms", part[1], (time.Duration(n) * unit).Milliseconds())
	})
}

// TestIncidents plays five incidents at once, each in a project of its own, beside a project without one, and checks
// which alerts fire and when.
func TestIncidents(t *testing.T) {
	c := newIncidentCloud(t)
	dir := writeFiles(t, map[string]string{"css_vpcep.yml": c.config()})
	exporter := startServer(t, "exporter", buildExporter(t), "--web.listen-address=127.0.0.1:0",
		"--config.file="+filepath.Join(dir, "css_vpcep.yml"))
	config := fmt.Sprintf("global: {scrape_interval: %[1]s, scrape_timeout: %[1]s, evaluation_interval: %[1]s}\n"+
		"rule_files: [alerts.yml]\nscrape_configs:\n- {job_name: css_vpcep, static_configs: [{targets: [%[2]q]}]}\n",
		minute, exporter.address)
	prom := startRelease(t, lookPath(t, "prometheus"), config, map[string]string{"alerts.yml": scaledRules(t)},
		"--query.lookback-delta="+(5*minute).String())
	started := time.Now()
	eventually(t, "the clusters of five projects are scraped 10 times", func() string {
		if n := prom.number(t, "count(count_over_time(css_vpcep_up[1m]) >= 10)"); n != 14 {
			return fmt.Sprintf("%g clusters", n)
		}
		return ""
	})

	happened := time.Now()
	for _, i := range incidents() {
		i.happens(c)
	}
	waitUntil(t, happened.Add(fixDark))
	c.fixReads()
	waitUntil(t, happened.Add(watched))

	end := time.Now()
	fired := prom.firedAlerts(t, end)
	if others := fired[""]; len(others) > 0 {
		t.Errorf("got alerts on no project: %v", others)
	}
	for _, i := range incidents() {
		since := happened
		if i.project == "wrong-key" {
			since = started
		}
		t.Run(i.project, func(t *testing.T) { checkIncident(t, i, fired["project-"+i.project], since, end) })
	}
}

func waitUntil(t *testing.T, at time.Time) {
	t.Helper()
	select {
	case <-time.After(time.Until(at)):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

type firedAlert struct {
	name        string
	first, last time.Time
}

// firedAlerts returns the alerts that have fired, by project.
func (p *prometheus) firedAlerts(t *testing.T, end time.Time) map[string][]firedAlert {
	t.Helper()
	fired := make(map[string][]firedAlert)
	for _, s := range p.queryAt(t, `ALERTS{alertstate="firing"}[5m]`, end) {
		project := s.Labels["project_id"]
		fired[project] = append(fired[project], firedAlert{
			s.Labels["alertname"], s.Values[0].at, s.Values[len(s.Values)-1].at,
		})
	}
	return fired
}

func checkIncident(t *testing.T, i incident, fired []firedAlert, since, end time.Time) {
	t.Helper()
	names := make(map[string]int)
	for _, a := range fired {
		names[a.name]++
		after := a.first.Sub(since).Seconds() / minute.Seconds()
		resolved := end.Sub(a.last) > 3*minute
		t.Logf("%s fired after %.0f minutes, resolved: %t, after %.0f", a.name, after, resolved,
			a.last.Sub(since).Seconds()/minute.Seconds())
		// A refresh of discovery takes up to 10 minutes, and the machine may be busy.
		if want := i.fires[a.name]; after < want-1 || after > want+20 {
			t.Errorf("%s fired after %.0f minutes, want %.0f", a.name, after, want)
		}
		if want := slices.Contains(i.resolves, a.name); resolved != want {
			t.Errorf("%s: got resolved %t, want %t", a.name, resolved, want)
		}
	}
	want := make(map[string]int)
	for name := range i.fires {
		want[name] = 1
		if name == "CSSVPCEPScrapeFailing" {
			want[name] = i.clusters
		}
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("number of alerts (-want +got):\n%s", diff)
	}
}
