// SPDX-License-Identifier: Apache-2.0

package app

import (
	"cmp"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/config"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/commandline"
	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/discovery"
	"css_vpcep_exporter/internal/network"
	"css_vpcep_exporter/internal/server"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/common/version"
)

// exporter connects the packages of the program.
type exporter struct {
	flags   *commandline.Flags
	file    source
	chain   cloud.CredentialSource           // for projects without credentials in the file
	agency  cloud.CredentialSource           // of the ECS instance
	proxy   func(*url.URL) (*url.URL, error) // the environment's
	logger  *slog.Logger
	keys    *cloud.Keys
	metrics *collector.ExporterMetrics
	fleet   *discovery.Fleet
	scraper *collector.Scraper
	server  *server.Server

	mu        sync.Mutex     // held while the configuration is read and applied
	config    *config.Config // in use
	projects  []loadedProject
	shared    []sharedSource // of the projects and accounts
	accounts  []loadedAccount
	lastKey   int
	tried     string    // snapshot.id of the last attempt to load
	failure   string    // error of that attempt; empty: success
	changed   string    // snapshot.id of the last check, if it was not that of the last attempt
	changedAt time.Time // since when checks have found that
}

func newExporter(f *commandline.Flags, file source, env config.Environment, logger *slog.Logger) *exporter {
	registry := prometheus.NewRegistry()
	profile := config.DefaultProfile(env)
	agency := credentials.NewECSAgency(config.MetadataAddress(env))
	e := &exporter{
		flags: f,
		file:  file,
		chain: credentials.NewChain(
			credentials.Environment(env), credentials.NewProfile(profile.File, profile.Section),
			credentials.NewPodIdentity(env), agency),
		agency:  agency,
		proxy:   network.Environment(env).Proxy(),
		logger:  logger,
		keys:    cloud.NewKeys(),
		metrics: collector.NewExporterMetrics(registry),
		fleet:   discovery.NewFleet(nil, logger),
	}
	e.fleet.OnListing(e.applyListing)
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		versioncollector.NewCollector("css_vpcep_exporter"),
		e.fleet,
	)
	if f.Demo {
		registry.MustRegister(collector.NewDemoMetric())
	}
	e.scraper = collector.NewScraper(collector.ScrapeOptions{Concurrency: 1}, e.metrics, logger)
	options := f.Server
	options.Build, options.Demo, options.ConfigState = build(), f.Demo, e.metrics.ConfigState
	if f.Lifecycle {
		options.Reload = e.reload
	}
	e.server = server.New(options, e.fleet, e.scraper, registry, logger)
	return e
}

// build identifies the program for people. A plain go build sets no version.
func build() server.Build {
	b := server.Build{Version: cmp.Or(version.Version, "devel"), Revision: version.GetRevision(), GoVersion: version.GoVersion}
	if b.Revision == "unknown" {
		b.Revision = ""
	}
	return b
}

func (e *exporter) close() {
	e.scraper.Wait()
	for _, p := range e.projects {
		p.close()
	}
	e.dropShared(nil)
	for _, a := range e.accounts {
		a.client.Close()
	}
}
