// SPDX-License-Identifier: Apache-2.0

package app

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"reflect"
	"slices"
	"sync"
	"syscall"
	"time"

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/config"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/discovery"
	"css_vpcep_exporter/internal/server"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/time/rate"
)

// shutdownGrace is the time that running scrapes get to finish after SIGTERM.
const shutdownGrace = 10 * time.Second

// exporter connects the packages of the program.
type exporter struct {
	flags   *flags
	load    func() (*config.Config, error)
	chain   css.CredentialSource // for projects without credentials in the file
	agency  css.CredentialSource // of the ECS that the program runs on
	logger  *slog.Logger
	keys    *css.Keys
	metrics *collector.ExporterMetrics
	fleet   *discovery.Fleet
	scraper *collector.Scraper
	server  *server.Server

	mu       sync.Mutex // held during reloads
	projects []loadedProject
}

// loadedProject is a project with the configuration that it was built from.
type loadedProject struct {
	file    config.Project
	project discovery.Project
}

// newExporter returns an exporter without projects; reload adds them.
func newExporter(f *flags, load func() (*config.Config, error), env config.Environment, logger *slog.Logger) *exporter {
	registry := prometheus.NewRegistry()
	profile := config.DefaultProfile(env)
	agency := css.NewECSAgency(config.MetadataAddress(env))
	e := &exporter{
		flags:   f,
		load:    load,
		chain:   css.NewChain(css.Environment(env), css.NewProfile(profile.File, profile.Section), agency, css.NewPodIdentity(env)),
		agency:  agency,
		logger:  logger,
		keys:    css.NewKeys(),
		metrics: collector.NewExporterMetrics(registry),
		fleet:   discovery.NewFleet(nil, logger),
	}
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		versioncollector.NewCollector("css_vpcep_exporter"),
		e.fleet,
	)
	e.scraper = collector.NewScraper(collector.ScrapeOptions{Concurrency: 1}, e.metrics, logger)
	options := f.server
	options.Version, options.ConfigState = buildVersion(), e.metrics.ConfigState
	if f.lifecycle {
		options.Reload = e.reload
	}
	e.server = server.New(options, e.fleet, e.scraper, registry, logger)
	return e
}

// buildVersion returns the version for the landing page; a plain go build sets none.
func buildVersion() string {
	if version.Version == "" {
		return "devel"
	}
	return version.Info()
}

// reload loads the configuration and applies it. If it is invalid, nothing changes. Projects whose configuration is
// unchanged keep their clients and their discovered clusters.
func (e *exporter) reload() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	cfg, projects, err := e.prepare()
	e.metrics.ConfigLoaded(err == nil)
	if err != nil {
		problems, ok := errors.AsType[config.Errors](err)
		if !ok {
			e.logger.Error("Invalid configuration", "err", err)
		}
		for _, p := range problems {
			e.logger.Error("Invalid configuration", "err", p)
		}
		return err
	}

	var fleet []discovery.Project
	for _, p := range projects {
		fleet = append(fleet, p.project)
	}
	e.scraper.Configure(collector.ScrapeOptions{
		Concurrency:  cfg.Scrape.Concurrency,
		MinInterval:  cfg.Scrape.MinInterval,
		MaxStaleness: cfg.Scrape.MaxStaleness,
	})
	e.server.Configure(collector.Options{Connections: e.flags.connections, MaxConnections: cfg.Scrape.MaxConnections})
	e.fleet.Apply(fleet)
	for _, old := range e.projects {
		if !slices.ContainsFunc(projects, func(p loadedProject) bool { return p.project.Client == old.project.Client }) {
			old.project.Client.Close()
		}
	}
	e.projects = projects
	e.logger.Info("Configuration loaded", "projects", len(projects))
	return nil
}

// prepare loads the configuration and builds the projects that are new or changed.
func (e *exporter) prepare() (*config.Config, []loadedProject, error) {
	cfg, err := e.load()
	if err != nil {
		return nil, nil, err
	}
	var projects []loadedProject
	for _, file := range cfg.Projects {
		i := slices.IndexFunc(e.projects, func(old loadedProject) bool { return reflect.DeepEqual(old.file, file) })
		if i >= 0 {
			projects = append(projects, e.projects[i])
			continue
		}
		project, err := e.newProject(&file)
		if err != nil {
			return nil, nil, err
		}
		projects = append(projects, loadedProject{file, project})
	}
	return cfg, projects, nil
}

// newProject returns a project with its client.
func (e *exporter) newProject(p *config.Project) (discovery.Project, error) {
	transport, err := newTransport(&p.TLSConfig, p.ProxyURL)
	if err != nil {
		return discovery.Project{}, fmt.Errorf("project %s: tls_config: %w", p.Name, err)
	}
	options := css.Options{
		Region:      p.Region,
		ProjectID:   p.ProjectID,
		Endpoint:    p.Endpoint,
		IAMEndpoint: p.IAMEndpoint,
		UserAgent:   name + "/" + cmp.Or(version.Version, "devel"),
		Keys:        e.keys,
		Transport:   transport,
		Budget:      rate.NewLimiter(rate.Limit(p.RequestsPerSecond), int(math.Ceil(p.RequestsPerSecond))),
		Observe:     e.observe(p.Name),
	}
	options.Credentials = e.credentials(&p.Credentials, options)
	project := discovery.Project{Name: p.Name, Region: p.Region, Client: css.NewClient(options)}
	for _, c := range p.Clusters {
		project.Listed = append(project.Listed, discovery.Listed{ID: c.ID, Name: c.Name, Labels: c.Labels})
	}
	if d := p.Discovery; d != nil {
		project.Search = &discovery.Search{
			RefreshInterval:     d.RefreshInterval,
			Name:                d.Name,
			Engine:              d.Engine,
			EnterpriseProjectID: d.EnterpriseProjectID,
			Tags:                d.Tags,
			LabelsFromTags:      d.LabelsFromTags,
		}
	}
	return project, nil
}

// observe returns a function that counts the requests of a project and logs them at debug level.
func (e *exporter) observe(project string) func(css.Exchange) {
	logger := e.logger.With("project", project)
	return func(x css.Exchange) {
		e.metrics.Observe(x)
		logger.Debug("API request", "operation", x.Operation, "status", x.Status, "code", x.ErrorCode,
			"duration", x.Duration, "request_id", x.RequestID)
	}
}

// newTransport returns a transport that reloads the files of c when they change.
func newTransport(c *promconfig.TLSConfig, proxy *url.URL) (http.RoundTripper, error) {
	tlsConfig, err := promconfig.NewTLSConfig(c)
	if err != nil {
		return nil, err
	}
	newTransport := func(c *tls.Config) (http.RoundTripper, error) { return css.NewTransport(c, proxy), nil }
	var files promconfig.TLSRoundTripperSettings
	for _, f := range []struct {
		path   string
		reader *promconfig.SecretReader
	}{{c.CAFile, &files.CA}, {c.CertFile, &files.Cert}, {c.KeyFile, &files.Key}} {
		if f.path != "" {
			*f.reader = promconfig.NewFileSecret(f.path)
		}
	}
	if files == (promconfig.TLSRoundTripperSettings{}) {
		return newTransport(tlsConfig)
	}
	return promconfig.NewTLSRoundTripper(tlsConfig, files, newTransport)
}

// credentials returns the source that is configured; options are those of the project's client.
func (e *exporter) credentials(c *config.Credentials, options css.Options) css.CredentialSource {
	switch {
	case *c == config.Credentials{}:
		return e.chain
	case c.ECSAgency:
		return e.agency
	case c.Profile != nil:
		return css.NewProfile(c.Profile.File, c.Profile.Section)
	case c.User != nil:
		password := css.NewFiles(
			css.Credentials{SecretKey: string(c.User.Password)}, css.Credentials{SecretKey: c.User.PasswordFile})
		return css.NewIAMToken(options, css.User{Name: c.User.Name, Domain: c.User.Domain}, password)
	}
	return css.NewFiles(
		css.Credentials{
			AccessKey: string(c.AccessKey), SecretKey: string(c.SecretKey), SecurityToken: string(c.SecurityToken),
		},
		css.Credentials{
			AccessKey: c.AccessKeyFile, SecretKey: c.SecretKeyFile, SecurityToken: c.SecurityTokenFile,
			AuthToken: c.TokenFile,
		},
	)
}

// close waits for running reads and closes the clients.
func (e *exporter) close() {
	e.scraper.Wait()
	for _, p := range e.projects {
		p.project.Client.Close()
	}
}

// once scrapes once, writes the metrics to stdout and returns the exit code.
func (e *exporter) once(ctx context.Context, stdout io.Writer) int {
	ctx, cancel := context.WithTimeout(ctx, e.flags.server.Timeout)
	defer cancel()
	refreshErr := e.fleet.Refresh(ctx)
	gatherer, failed := e.server.Once(ctx)
	families, err := gatherer.Gather()
	if err != nil {
		e.logger.Error("Gathering metrics failed", "err", err)
	}
	encoder := expfmt.NewEncoder(stdout, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, family := range families {
		if err := encoder.Encode(family); err != nil {
			e.logger.Error("Writing metrics failed", "err", err)
			return 1
		}
	}
	if err != nil || refreshErr != nil || failed() > 0 {
		return 1
	}
	return 0
}

// serve serves HTTP until ctx ends, then shuts down gracefully. It returns the exit code.
func (e *exporter) serve(ctx context.Context) int {
	handler, err := e.server.Handler()
	if err != nil {
		e.logger.Error("Creating the landing page failed", "err", err)
		return 1
	}
	e.logger.Info("Starting "+name, "version", version.Info(), "build_context", version.BuildContext())
	if e.flags.demo {
		e.announceDemo()
	}

	requests, cancelRequests := context.WithCancel(context.WithoutCancel(ctx))
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(e.logger.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return requests },
	}
	background, stopRefreshing := context.WithCancel(ctx)
	refreshed, served := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(refreshed)
		e.fleet.Run(background)
	}()
	go func() { served <- web.ListenAndServe(srv, e.flags.web, e.logger) }()

	if err = e.wait(ctx, served); err != nil {
		e.logger.Error("HTTP server failed", "err", err)
	} else {
		e.logger.Info("Shutting down", "grace", shutdownGrace)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		err = srv.Shutdown(grace)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			e.logger.Warn("Shutdown timed out; cancelling running scrapes")
			err = nil
		}
	}
	cancelRequests()
	_ = srv.Close()
	stopRefreshing()
	<-refreshed
	if err != nil {
		return 1
	}
	return 0
}

// wait reloads the configuration on SIGHUP until ctx ends. If the HTTP server fails before, wait returns its error.
func (e *exporter) wait(ctx context.Context, served <-chan error) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-hangup:
			_ = e.reload() // logged, and exposed as a metric
		case err := <-served:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}
