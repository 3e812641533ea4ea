// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"css_vpcep_exporter/config"
	"css_vpcep_exporter/internal/ces"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/diagnose"
	"css_vpcep_exporter/internal/discovery"
	"css_vpcep_exporter/internal/iam"
	"css_vpcep_exporter/internal/regions"
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
		File:          e.flags.ConfigFile,
		Timeout:       min(maxDiagnoseTimeout, e.flags.Server.Timeout),
		ScrapeTimeout: e.flags.Server.Timeout,
		TimeoutOffset: e.flags.Server.TimeoutOffset,
		Concurrency:   cfg.Scrape.Concurrency,
	}
	if e.flags.Demo {
		options.File = "the configuration of the simulated cloud"
	}
	var clients []*cloud.Client
	defer func() {
		for _, client := range clients {
			client.Close()
		}
	}()
	for i := range cfg.Projects {
		p := &cfg.Projects[i]
		project, client, err := e.toDiagnose(p)
		if err != nil {
			fmt.Fprintln(stdout, err)
			return 1
		}
		clients = append(clients, client)
		if !p.IsAccount() {
			options.Projects = append(options.Projects, project)
			continue
		}
		options.Accounts = append(options.Accounts, e.accountToDiagnose(p, project, client, func(found *cloud.Client) {
			clients = append(clients, found)
		}))
	}
	ok, err := diagnose.Run(ctx, options, stdout)
	if err != nil {
		e.logger.Error("Writing the report failed", "err", err)
	}
	if !ok || err != nil {
		return 1
	}
	return 0
}

func (e *exporter) toDiagnose(p *config.Project) (diagnose.Project, *cloud.Client, error) {
	route, err := e.newRoute(p)
	if err != nil {
		return diagnose.Project{}, nil, err
	}
	meter := diagnose.NewMeter(route.transport())
	options := e.clientOptions(p, meter)
	options.Retry = cloud.Retry{Tries: 1}
	caller := e.credentials(p, options)
	options.Credentials = caller
	if p.Credentials.AssumeAgency != nil {
		options.Credentials = newAgency(p, options)
	}
	client := cloud.NewClient(options)
	id := iam.NewProject(client, p.IAMEndpoint, p.Region, p.ProjectID)
	cssEndpoint, iamEndpoint, known := regions.Endpoints(p.Region)
	diagnosed := diagnose.Project{
		Name: p.Name, Region: p.Region, ID: p.ProjectID, Endpoint: p.Endpoint, IAMEndpoint: p.IAMEndpoint,
		Public:      known && p.Endpoint == cssEndpoint && p.IAMEndpoint == iamEndpoint,
		Credentials: caller,
		Origin:      func() (string, time.Time) { return credentials.Origin(caller) },
		Login:       p.Credentials.User != nil || p.Credentials.OIDC != nil,
		Meter:       meter,
		Budget:      options.Budget,
		CSS:         css.NewClient(client, p.Endpoint, id, e.metrics.CountUnparsable),
		Lookup:      iam.NewProject(client, p.IAMEndpoint, p.Region, ""),
		Proxy:       route.proxy,
		ProxyIn:     "the environment",
		TLS:         route.files.Current,
		Agent:       options.UserAgent,
	}
	if a := p.Credentials.AssumeAgency; a != nil {
		diagnosed.Agency, diagnosed.STSEndpoint = options.Credentials, a.STSEndpoint
		diagnosed.AgencyOrigin = func() (string, time.Time) { return credentials.Origin(options.Credentials) }
	}
	if p.Credentials.OIDC != nil {
		diagnosed.LoginSTS = p.Credentials.OIDC.STSEndpoint
	}
	if p.Sessions != nil {
		options.Scope = sessionsScope
		diagnosed.Public = diagnosed.Public && p.Sessions.Endpoint == regions.CES(p.Region)
		diagnosed.Sessions = &diagnose.Sessions{
			Endpoint: p.Sessions.Endpoint, BatchSize: p.Sessions.BatchSize,
			Client: ces.NewClient(cloud.NewClient(options), p.Sessions.Endpoint, id, e.metrics.CountUnparsable),
		}
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
	return diagnosed, client, nil
}

// accountToDiagnose returns an entry with regions. opened is called with the client of each project that is found.
func (e *exporter) accountToDiagnose(
	p *config.Project, login diagnose.Project, client *cloud.Client, opened func(*cloud.Client),
) diagnose.Account {
	login.Endpoint, login.Sessions = "", nil // only IAM is asked
	account := iam.NewAccount(client, p.IAMEndpoint)
	return diagnose.Account{Project: login, List: func(ctx context.Context) (found diagnose.Found, err error) {
		list, _, err := account.Projects(ctx)
		found.Hint = discovery.IncompleteHint(err)
		for _, listed := range list {
			settings, wanted := p.Found(listed.Name, listed.ID)
			if !wanted || listed.Disabled {
				found.LeftOut = append(found.LeftOut, listed.Name)
				continue
			}
			found.Wanted++
			if found.Wanted > diagnose.MaxFound {
				continue
			}
			project, client, failure := e.toDiagnose(&settings)
			if failure != nil {
				return found, failure
			}
			opened(client)
			found.Projects = append(found.Projects, project)
		}
		return found, err
	}}
}
