// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net"
	"slices"
	"time"

	"css_vpcep_exporter/config"
	"css_vpcep_exporter/simulator"
)

// demoPace is how often something happens in the demo's fleet.
const demoPace = 3 * time.Second

// announceDemo says where to look, and keeps the demo on this machine unless it was told otherwise.
func (e *exporter) announceDemo() {
	if addresses := *e.flags.web.WebListenAddresses; !e.flags.webGiven && slices.Equal(addresses, []string{listenAddress}) {
		*e.flags.web.WebListenAddresses = []string{"127.0.0.1" + listenAddress}
	}
	for _, address := range *e.flags.web.WebListenAddresses {
		host, port, err := net.SplitHostPort(address)
		if err != nil || port == "0" {
			continue // the server will say what it listens on, or why it does not
		}
		if host == "" {
			host = "localhost"
		}
		base := "http://" + net.JoinHostPort(host, port)
		e.logger.Info("The demo shows a simulated cloud; open these addresses",
			"landing_page", base+"/", "metrics", base+e.flags.server.TelemetryPath, "status", base+"/status")
	}
}

// demo is the simulated cloud of --demo.
type demo struct {
	cloud  *simulator.Simulator
	server *simulator.Server
	stop   func()
}

func startDemo(ctx context.Context) (*demo, error) {
	cloud := simulator.Demo(simulator.Options{})
	srv, err := cloud.Start(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cloud.Run(ctx, demoPace)
	}()
	return &demo{cloud: cloud, server: srv, stop: func() {
		_ = srv.Close(ctx)
		cancel()
		<-ended
	}}, nil
}

// config is the file that one would write for the simulated cloud. The first project's id is left to be looked up.
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
