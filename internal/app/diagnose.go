// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"css_vpcep_exporter/config"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/diagnose"
	"css_vpcep_exporter/internal/iam"
)

// maxDiagnoseTimeout bounds each request of a diagnosis.
const maxDiagnoseTimeout = 10 * time.Second

// diagnose implements --diagnose and returns the exit code. Its clients differ from those of scrapes in that they count
// their requests, and send none again.
func (e *exporter) diagnose(ctx context.Context, stdout io.Writer) int {
	cfg, err := e.file.parse(e.file.read())
	if errors.Is(err, errInterrupted) {
		e.logger.Warn("Interrupted while loading the configuration")
		return 1
	}
	if err != nil {
		fmt.Fprintln(stdout, err)
		return 1
	}
	options := diagnose.Options{
		File:          e.flags.configFile,
		Timeout:       min(maxDiagnoseTimeout, e.flags.server.Timeout),
		ScrapeTimeout: e.flags.server.Timeout,
		TimeoutOffset: e.flags.server.TimeoutOffset,
		Concurrency:   cfg.Scrape.Concurrency,
	}
	if e.flags.demo {
		options.File = "the configuration of the simulated cloud"
	}
	defer func() {
		for i := range options.Projects {
			options.Projects[i].CSS.Close()
		}
	}()
	for i := range cfg.Projects {
		project, err := e.toDiagnose(&cfg.Projects[i])
		if err != nil {
			fmt.Fprintln(stdout, err)
			return 1
		}
		options.Projects = append(options.Projects, project)
	}
	if !diagnose.Run(ctx, options, stdout) {
		return 1
	}
	return 0
}

func (e *exporter) toDiagnose(p *config.Project) (diagnose.Project, error) {
	route, err := e.newRoute(p)
	if err != nil {
		return diagnose.Project{}, err
	}
	meter := diagnose.NewMeter(route.transport())
	options := e.clientOptions(p, meter)
	options.Retry = cloud.Retry{Tries: 1}
	options.Credentials = e.credentials(p, options)
	client := cloud.NewClient(options)
	cssEndpoint, iamEndpoint, known := config.RegionEndpoints(p.Region)
	diagnosed := diagnose.Project{
		Name: p.Name, Region: p.Region, ID: p.ProjectID, Endpoint: p.Endpoint, IAMEndpoint: p.IAMEndpoint,
		Public:      known && p.Endpoint == cssEndpoint && p.IAMEndpoint == iamEndpoint,
		Credentials: options.Credentials,
		Origin:      func() (string, time.Time) { return credentials.Origin(options.Credentials) },
		Login:       p.Credentials.User != nil || p.Credentials.OIDC != nil,
		Meter:       meter,
		Budget:      options.Budget,
		CSS: css.NewClient(client, p.Endpoint, iam.NewProject(client, p.IAMEndpoint, p.Region, p.ProjectID),
			e.metrics.CountUnparsable),
		Lookup:  iam.NewProject(client, p.IAMEndpoint, p.Region, ""),
		Proxy:   route.proxy,
		ProxyIn: "the environment",
		TLS:     route.files.current,
		Agent:   options.UserAgent,
	}
	if p.Credentials.OIDC != nil {
		diagnosed.LoginSTS = p.Credentials.OIDC.STSEndpoint
	}
	if p.ProxyURL != nil {
		diagnosed.ProxyIn = "proxy_url"
	}
	for _, c := range p.Clusters {
		diagnosed.Listed = append(diagnosed.Listed, css.Cluster{ID: c.ID, Name: c.Name})
	}
	if search := newSearch(p.Discovery); search != nil {
		diagnosed.LeftOut = search.LeftOut
	}
	return diagnosed, nil
}
