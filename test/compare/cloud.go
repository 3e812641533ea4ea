// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"css_vpcep_exporter/internal/simulator"
)

// The content of the cloud. Clusters whose ID begins with changingID change before every response.
const (
	region     = "cn-north-4"
	projectID  = "0123456789abcdef0123456789abcdef"
	accessKey  = "AK-of-the-comparison"
	secretKey  = "SK-that-opens-nothing" //nolint:gosec // fake
	accountID  = "db9b76a0d9ae431f8e85e89da2ca867c"
	stableID   = "5c77b71c-5b35-4f50-8984-76387e42451a"
	changingID = "changing"

	pathCounts = "/counts"
)

// The cluster IDs of the fleet.
const (
	stablePrefix   = "5c77b71c-5b35-4f50-8984"
	changingPrefix = changingID
)

func fleetClusterID(prefix string, index int) string { return fmt.Sprintf("%s-%012x", prefix, index) }

type cloudOptions struct {
	clusters    int // of each kind in the fleet
	connections int // of each cluster
	latency     time.Duration
	caFile      string // written
}

// cloudCounts are totals since the start.
type cloudCounts struct {
	Calls       int `json:"calls"`
	Connections int `json:"connections"` // TCP
	Sessions    int `json:"sessions"`    // calls of Cloud Eye
}

// cloudAccess is written to standard output once the cloud listens.
type cloudAccess struct {
	URL   string `json:"url"`
	Token string `json:"token"` // for clients that do not sign requests
}

// runCloud serves the clusters over TLS until ctx is done or standard input is closed.
func runCloud(ctx context.Context, o cloudOptions, stdout io.Writer) error {
	sim := newSimulator(o)
	var accepted atomic.Int64
	srv := httptest.NewUnstartedServer(cloudHandler(sim, &accepted))
	srv.EnableHTTP2 = true
	srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			accepted.Add(1)
		}
	}
	srv.StartTLS()
	defer srv.Close()
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(o.caFile, certificate, 0o600); err != nil {
		return err
	}
	token, err := login(ctx, srv.Client(), srv.URL)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(stdout).Encode(cloudAccess{URL: srv.URL, Token: token}); err != nil {
		return err
	}
	waitForStdinEnd(ctx)
	return nil
}

func newSimulator(o cloudOptions) *simulator.Simulator {
	sim := simulator.New(simulator.Options{KeepRequests: 1})
	sim.AddProject(simulator.Project{
		Name: region, Region: region, ID: projectID, Keys: []simulator.Key{{Access: accessKey, Secret: secretKey}},
	})
	sim.AddUser(simulator.User{Name: "user", Domain: "domain", Password: secretKey})
	sim.AddCluster(projectID, newCluster(stableID, o.connections))
	sim.AddCluster(projectID, newCluster(changingID, o.connections))
	for i := range o.clusters {
		sim.AddCluster(projectID, newCluster(fleetClusterID(stablePrefix, i), o.connections))
		sim.AddCluster(projectID, newCluster(fleetClusterID(changingPrefix, i), o.connections))
	}
	for i := range o.clusters {
		addSessions(sim, newCluster(fleetClusterID(stablePrefix, i), o.connections))
	}
	if o.latency > 0 {
		sim.SetFault(simulator.Target{Endpoint: simulator.Connections}, simulator.Fault{Latency: o.latency})
	}
	return sim
}

// addSessions gives connections sessions that change every minute.
func addSessions(sim *simulator.Simulator, c simulator.Cluster) {
	for i := range c.Connections {
		sim.SetSessions(c.Connections[i].ID, func(at time.Time) (sessions, active float64, ok bool) {
			n := (at.Unix()/60 + int64(i)*31) % 1000
			return float64(n), float64(n) / 4, true
		})
	}
}

// cloudHandler serves the simulator and its counts.
func cloudHandler(sim *simulator.Simulator, accepted *atomic.Int64) http.Handler {
	var updates atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == pathCounts {
			_ = json.NewEncoder(w).Encode(cloudCounts{
				Calls: sim.Count(simulator.Target{Endpoint: simulator.Connections}), Connections: int(accepted.Load()),
				Sessions: sim.Count(simulator.Target{Endpoint: simulator.Sessions}),
			})
			return
		}
		if _, id, ok := strings.Cut(r.URL.Path, "/clusters/"); ok && strings.HasPrefix(id, changingID) {
			id, _, _ = strings.Cut(id, "/")
			n := updates.Add(1)
			sim.UpdateCluster(id, func(c *simulator.Cluster) {
				connection := &c.Connections[int(n)%len(c.Connections)]
				connection.UpdatedAt = simulator.Text(time.Unix(1_700_000_000+n, 0).UTC().Format(time.RFC3339))
			})
		}
		sim.ServeHTTP(w, r)
	})
}

func login(ctx context.Context, client *http.Client, url string) (token string, err error) {
	body := fmt.Sprintf(`{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"user","password":%q,`+
		`"domain":{"name":"domain"}}}},"scope":{"project":{"id":%q}}}}`, secretKey, projectID)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v3/auth/tokens", bytes.NewBufferString(body))
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	token = resp.Header.Get("X-Subject-Token")
	if token == "" {
		return "", errors.New("no token in the login response: " + resp.Status)
	}
	return token, nil
}

// newCluster returns a cluster like the vendor's example, with an update time on every second connection.
func newCluster(id string, connections int) simulator.Cluster {
	c := simulator.Cluster{
		ID: id, Name: clusterName(id), Status: "200", Still: true, Engine: "elasticsearch", Version: "7.10.2",
		ServiceName:  simulator.Text(region + ".css-op-no-delete.cf072729-b076-49db-83d3-020dc9f589bd"),
		UpdateSwitch: "false",
		Permissions: []simulator.Permission{{
			ID: "432a6429-f377-4168-8b24-feb5885af08c", Permission: "iam:domain::" + accountID, Type: "domainId",
			CreatedAt: simulator.Text("2023-10-12T07:33:11Z"),
		}},
	}
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(id))
	for i := range connections {
		_, _ = hash.Write([]byte{byte(i)})
		connection := simulator.Connection{
			ID:     fmt.Sprintf("%08x-31a1-40d0-862b-%012x", uint32(i)*2654435761, hash.Sum64()>>16),
			Status: "accepted", MaxSession: simulator.Text("3000"), Specification: "default",
			IP: fmt.Sprintf("192.168.%d.%d", i/250, 2+i%250), DomainID: accountID,
			CreatedAt: simulator.Text("2024-06-11T09:36:24Z"),
		}
		if i%2 == 0 {
			connection.UpdatedAt = simulator.Text("2024-06-12T09:36:24Z")
		}
		c.Connections = append(c.Connections, connection)
	}
	return c
}

func clusterName(id string) string { return "search-" + id[max(0, len(id)-6):] }

// minSeries returns the least number of per-connection series of such a cluster.
func minSeries(connections int) int { return 4*connections + (connections+1)/2 }
