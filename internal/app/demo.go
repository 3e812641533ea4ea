// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"net"
	"time"

	"css_vpcep_exporter/config"
	"css_vpcep_exporter/internal/simulator"
)

const demoPace = 3 * time.Second // between changes of the fleet

func (e *exporter) announceDemo() {
	if *e.flags.Web.WebSystemdSocket {
		e.logger.Info("Serving a simulated cloud") // on the addresses that systemd has chosen
		return
	}
	for _, address := range *e.flags.Web.WebListenAddresses {
		host, port, err := net.SplitHostPort(address)
		if err != nil || port == "0" {
			continue
		}
		if host == "" {
			host = "localhost"
		}
		base := "http://" + net.JoinHostPort(host, port)
		e.logger.Info("Serving a simulated cloud",
			"landing_page", base+"/", "metrics", base+e.flags.Server.TelemetryPath, "status", base+"/status")
	}
}

type demo struct {
	cloud  *simulator.Simulator
	server *simulator.Server
	stop   func()
}

// startDemo starts a simulated cloud that runs until stop is called.
func startDemo(ctx context.Context) (*demo, error) {
	ctx = context.WithoutCancel(ctx)
	cloud := simulator.Demo(simulator.Options{})
	srv, err := cloud.Start(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
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

func (d *demo) source() source {
	return source{
		read:  func() snapshot { return snapshot{} },
		parse: func(snapshot) (*config.Config, error) { return d.config(), nil },
	}
}

// config omits the first project's ID, so that it is looked up, and that of the project in another account, which does
// not read sessions.
func (d *demo) config() *config.Config {
	cfg := &config.Config{Scrape: config.Scrape{Concurrency: 16, MaxConnections: 100}}
	for i, p := range d.cloud.Projects() {
		project := config.Project{
			Name: p.Name, Region: p.Region, Endpoint: d.server.URL, IAMEndpoint: d.server.URL, RequestsPerSecond: 20,
			Credentials: config.Credentials{
				AccessKey: config.Secret(p.Keys[0].Access), SecretKey: config.Secret(p.Keys[0].Secret),
			},
			Discovery: &config.Discovery{
				RefreshInterval: 30 * time.Second, LabelsFromTags: map[string]string{"team": "team", "stage": "stage"},
			},
		}
		if p.Name != simulator.DemoPartner {
			project.Sessions = &config.Sessions{Endpoint: d.server.URL, BatchSize: 500}
		}
		switch {
		case p.Name == simulator.DemoPartner:
			project.Credentials = cfg.Projects[i-1].Credentials
			project.Credentials.AssumeAgency = &config.AssumeAgency{
				Name: simulator.DemoPartnerAgency, DomainName: simulator.DemoPartnerAccount, Duration: time.Hour,
			}
		case i > 0:
			project.ProjectID = p.ID
		}
		cfg.Projects = append(cfg.Projects, project)
	}
	return cfg
}
