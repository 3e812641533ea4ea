// SPDX-License-Identifier: Apache-2.0

package main

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
	"css_vpcep_exporter/css"
	"css_vpcep_exporter/discovery"
	"css_vpcep_exporter/server"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/time/rate"
)

// shutdownGrace is how long running scrapes may go on after SIGTERM.
const shutdownGrace = 10 * time.Second

// exporter is the program after its flags were read.
type exporter struct {
	flags   *flags
	load    func() (*config.Config, error)
	chain   css.CredentialSource // of projects that name no credentials
	agency  css.CredentialSource // of this machine
	logger  *slog.Logger
	keys    *css.Keys
	metrics *collector.ExporterMetrics
	fleet   *discovery.Fleet
	scraper *collector.Scraper
	server  *server.Server

	mu       sync.Mutex // held while the configuration changes
	projects []configured
}

// configured is a project with what the file said of it.
type configured struct {
	file    config.Project
	project discovery.Project
}

// newExporter makes an exporter of nothing; reload makes it know its projects.
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

// buildVersion is what the landing page shows; a plain go build stamps nothing in.
func buildVersion() string {
	if version.Version == "" {
		return "devel"
	}
	return version.Info()
}

// reload loads the whole file and then puts it to use; if anything is wrong with it, nothing changes. Projects that the
// file says the same of as before keep their connections, and what is known of them.
func (e *exporter) reload() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	cfg, projects, err := e.prepare()
	e.metrics.ConfigLoaded(err == nil)
	if err != nil {
		mistakes := config.Errors{}
		if !errors.As(err, &mistakes) {
			e.logger.Error("The configuration cannot be used", "err", err)
		}
		for _, m := range mistakes {
			e.logger.Error("The configuration cannot be used", "err", m)
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
		if !slices.ContainsFunc(projects, func(p configured) bool { return p.project.Client == old.project.Client }) {
			old.project.Client.Close()
		}
	}
	e.projects = projects
	e.logger.Info("The configuration is loaded", "projects", len(projects))
	return nil
}

// prepare loads the file and makes what is new in it.
func (e *exporter) prepare() (*config.Config, []configured, error) {
	cfg, err := e.load()
	if err != nil {
		return nil, nil, err
	}
	var projects []configured
	for _, file := range cfg.Projects {
		i := slices.IndexFunc(e.projects, func(old configured) bool { return reflect.DeepEqual(old.file, file) })
		if i >= 0 {
			projects = append(projects, e.projects[i])
			continue
		}
		project, err := e.newProject(&file)
		if err != nil {
			return nil, nil, err
		}
		projects = append(projects, configured{file, project})
	}
	return cfg, projects, nil
}

// newProject builds what reads a project of the file.
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
	project := discovery.Project{
		Name:   p.Name,
		Region: p.Region,
		Client: css.NewClient(options),
	}
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

// observe returns what counts and, at debug level, logs the requests of a project.
func (e *exporter) observe(project string) func(css.Exchange) {
	logger := e.logger.With("project", project)
	return func(x css.Exchange) {
		e.metrics.Observe(x)
		logger.Debug("API request", "operation", x.Operation, "status", x.Status, "code", x.ErrorCode,
			"duration", x.Duration, "request_id", x.RequestID)
	}
}

// newTransport returns a transport that reads the files of c again when they change.
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

// credentials makes the source that the file names; options are those of the project's client.
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

// close ends what newExporter began.
func (e *exporter) close() {
	e.scraper.Wait()
	for _, p := range e.projects {
		p.project.Client.Close()
	}
}

// once makes one scrape.
func (e *exporter) once(ctx context.Context, stdout io.Writer) int {
	ctx, cancel := context.WithTimeout(ctx, e.flags.server.Timeout)
	defer cancel()
	refused := e.fleet.Refresh(ctx)
	gatherer, failed := e.server.Once(ctx)
	families, err := gatherer.Gather()
	if err != nil {
		e.logger.Error("Metrics are incomplete", "err", err)
	}
	encoder := expfmt.NewEncoder(stdout, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, family := range families {
		if err := encoder.Encode(family); err != nil {
			e.logger.Error("Metrics cannot be written", "err", err)
			return 1
		}
	}
	if err != nil || refused != nil || failed() > 0 {
		return 1
	}
	return 0
}

// serve answers requests until ctx ends, and then finishes those that are running.
func (e *exporter) serve(ctx context.Context) int {
	handler, err := e.server.Handler()
	if err != nil {
		e.logger.Error("The landing page cannot be made", "err", err)
		return 1
	}
	e.logger.Info("Starting "+name, "version", version.Info(), "build_context", version.BuildContext())
	if e.flags.demo {
		e.announceDemo()
	}

	// Requests outlive ctx by the grace that is theirs.
	requests, cut := context.WithCancel(context.WithoutCancel(ctx))
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(e.logger.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return requests },
	}
	background, stop := context.WithCancel(ctx)
	refreshed, served := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(refreshed)
		e.fleet.Run(background)
	}()
	go func() { served <- web.ListenAndServe(srv, e.flags.web, e.logger) }()

	if err = e.wait(ctx, served); err != nil {
		e.logger.Error("The HTTP server ended", "err", err)
	} else {
		e.logger.Info("Shutting down", "grace", shutdownGrace)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		err = srv.Shutdown(grace)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			e.logger.Warn("Scrapes were still running and are cut off")
			err = nil
		}
	}
	cut()
	_ = srv.Close()
	stop()
	<-refreshed
	if err != nil {
		return 1
	}
	return 0
}

// wait returns when ctx ends or, with its error, when the HTTP server does. Until then SIGHUP loads the file again.
func (e *exporter) wait(ctx context.Context, served <-chan error) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-hangup:
			_ = e.reload() // it is in the log and in a metric
		case err := <-served:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}
