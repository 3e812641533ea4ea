// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"net"
	"slices"
	"time"

	"css_vpcep_exporter/config"
	"css_vpcep_exporter/internal/simulator"
)

// demoPace is the interval between changes of the simulated fleet.
const demoPace = 3 * time.Second

// announceDemo logs the addresses of the pages. Unless a listen address was set, it restricts the demo to loopback.
func (e *exporter) announceDemo() {
	if addresses := *e.flags.web.WebListenAddresses; !e.flags.webGiven && slices.Equal(addresses, []string{listenAddress}) {
		*e.flags.web.WebListenAddresses = []string{"127.0.0.1" + listenAddress}
	}
	for _, address := range *e.flags.web.WebListenAddresses {
		host, port, err := net.SplitHostPort(address)
		if err != nil || port == "0" {
			continue // the server logs the port, or the error
		}
		if host == "" {
			host = "localhost"
		}
		base := "http://" + net.JoinHostPort(host, port)
		e.logger.Info("Serving a simulated cloud",
			"landing_page", base+"/", "metrics", base+e.flags.server.TelemetryPath, "status", base+"/status")
	}
}

// demo is the simulated cloud of --demo.
type demo struct {
	cloud  *simulator.Simulator
	server *simulator.Server
	stop   func()
}

// startDemo starts the simulated cloud, which runs until stop is called.
func startDemo(ctx context.Context) (*demo, error) {
	cloud := simulator.Demo(simulator.Options{})
	srv, err := cloud.Start(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		cloud.Run(ctx, demoPace)
	}()
	return &demo{cloud: cloud, server: srv, stop: func() {
		_ = srv.Close(ctx)
		cancel()
		<-done
	}}, nil
}

// config returns a configuration for the simulated cloud. It omits the first project's ID, so that it is looked up.
func (d *demo) config() (*config.Config, error) {
	cfg := &config.Config{Scrape: config.Scrape{Concurrency: 16, MaxConnections: 100}}
	for i, p := range d.cloud.Projects() {
		project := config.Project{
			Name: p.Name, Region: p.Region, Endpoint: d.server.URL, IAMEndpoint: d.server.URL, RequestsPerSecond: 20,
			Credentials: config.Credentials{
				AccessKey: config.Secret(p.Keys[0].Access), SecretKey: config.Secret(p.Keys[0].Secret),
			},
			Discovery: &config.Discovery{RefreshInterval: 30 * time.Second, LabelsFromTags: []string{"team", "stage"}},
		}
		if i > 0 {
			project.ProjectID = p.ID
		}
		cfg.Projects = append(cfg.Projects, project)
	}
	return cfg, nil
}
