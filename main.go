// SPDX-License-Identifier: Apache-2.0

// Command css_vpcep_exporter shows Prometheus the VPC endpoint connections of Huawei Cloud CSS clusters.
//
// This file reads the flags, makes the logger, and wires the packages together; it decides nothing else.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log" //nolint:depguard // to silence it
	"log/slog"
	"math"
	"net"
	"net/http"
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
	"css_vpcep_exporter/simulator"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"
	webflag "github.com/prometheus/exporter-toolkit/web/kingpinflag"
	sloggokit "github.com/tjhop/slog-gokit"
	"golang.org/x/time/rate"
)

const (
	name          = "css_vpcep_exporter"
	listenAddress = ":10247"

	// shutdownGrace is how long running scrapes may go on after SIGTERM.
	shutdownGrace = 10 * time.Second
	// demoPace is how often something happens in the demo's fleet.
	demoPace = 3 * time.Second
)

func main() {
	// net/http quotes stray answers to the standard logger, which may echo what was signed.
	stdlog.SetOutput(io.Discard)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// flags are the values of the command line.
type flags struct {
	configFile  string
	configCheck bool
	once        bool
	demo        bool
	connections bool
	logLevel    string
	logFormat   string
	web         *web.FlagConfig
	webGiven    bool // the listen address was asked for
	lifecycle   bool
	server      server.Options
}

// newApp describes the command line, whose values end up in f.
func newApp(f *flags) *kingpin.Application {
	app := kingpin.New(name, "Prometheus exporter for the VPC endpoint connections of Huawei Cloud CSS clusters.")
	app.Version(version.Print(name))
	app.HelpFlag.Short('h')
	app.DefaultEnvars()
	app.Flag("config.file", "The configuration file.").
		Default("css_vpcep.yml").StringVar(&f.configFile)
	app.Flag("config.check", "Load the configuration file, say every mistake with its line, and exit with 0 or 1. Makes no call.").
		BoolVar(&f.configCheck)
	app.Flag("once", "Scrape once, write the metrics to standard output, and exit, with 1 if any cluster failed.").
		BoolVar(&f.once)
	app.Flag("demo", "Run against a simulated cloud on a free loopback port; needs no file and no credentials.").
		BoolVar(&f.demo)
	app.Flag("web.telemetry-path", "Path under which to expose metrics.").
		Default("/metrics").StringVar(&f.server.TelemetryPath)
	app.Flag("web.enable-lifecycle", "Load the configuration file again on POST /-/reload, as on SIGHUP.").
		BoolVar(&f.lifecycle)
	app.Flag("scrape.timeout", "How long a request may take that does not say so itself by X-Prometheus-Scrape-Timeout-Seconds.").
		Default("10s").DurationVar(&f.server.Timeout)
	app.Flag("scrape.timeout-offset", "How long before its timeout a request is answered.").
		Default("500ms").DurationVar(&f.server.TimeoutOffset)
	app.Flag("collector.connections", "Expose the series of each connection.").
		Default("true").BoolVar(&f.connections)
	app.Flag("log.level", "Only log messages with the given severity or above. One of: [debug, info, warn, error]").
		Default("info").EnumVar(&f.logLevel, "debug", "info", "warn", "error")
	app.Flag("log.format", "Output format of log messages. One of: [logfmt, json]").
		Default("logfmt").EnumVar(&f.logFormat, "logfmt", "json")
	f.web = webflag.AddFlags(app, listenAddress)
	app.GetFlag("web.listen-address").IsSetByUser(&f.webGiven)
	return app
}

// run is the program; it returns the exit code.
func run(ctx context.Context, args []string, env config.Environment, stdout, stderr io.Writer) int {
	var f flags
	app := newApp(&f)
	exit := -1
	app.UsageWriter(stdout).ErrorWriter(stderr).Terminate(func(code int) {
		if exit < 0 { // --help and --version end the parsing, not the process
			exit = code
		}
	})
	_, err := app.Parse(args)
	switch {
	case exit >= 0:
		return exit
	case err == nil:
		err = f.server.Validate()
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %s, try --help\n", name, err)
		return 1
	}
	logger := newLogger(stderr, f.logLevel, f.logFormat)

	load := func() (*config.Config, error) { return config.Load(f.configFile, env) }
	if f.demo {
		cloud, err := startDemo(ctx)
		if err != nil {
			logger.Error("The simulated cloud cannot be started", "err", err)
			return 1
		}
		defer cloud.stop()
		load = cloud.config
	}
	if f.configCheck {
		return check(f.configFile, load, stdout)
	}

	e := newExporter(&f, load, env, logger)
	defer e.close()
	if e.reload() != nil {
		return 1 // it is in the log
	}
	if f.once {
		return e.once(ctx, stdout)
	}
	return e.serve(ctx)
}

// check says every mistake of the file on standard output.
func check(file string, load func() (*config.Config, error), stdout io.Writer) int {
	cfg, err := load()
	if err != nil {
		fmt.Fprintln(stdout, err)
		return 1
	}
	fmt.Fprintf(stdout, "%s: the file is good: %d project(s)\n", file, len(cfg.Projects))
	return 0
}

// newLogger makes a logger of the log/slog kind that writes through go-kit/log.
func newLogger(w io.Writer, level, format string) *slog.Logger {
	writer := log.NewLogfmtLogger(log.NewSyncWriter(w))
	if format == "json" {
		writer = log.NewJSONLogger(log.NewSyncWriter(w))
	}
	var threshold slog.Level
	_ = threshold.UnmarshalText([]byte(level)) // the flag lets no other level pass
	return slog.New(sloggokit.NewGoKitHandler(writer, threshold))
}

// exporter is the program after its flags were read.
type exporter struct {
	flags   *flags
	load    func() (*config.Config, error)
	env     config.Environment
	logger  *slog.Logger
	guard   *css.Guard
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
	e := &exporter{
		flags:   f,
		load:    load,
		env:     env,
		logger:  logger,
		guard:   css.NewGuard(),
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
	options.Version = version.Info()
	if f.lifecycle {
		options.Reload = e.reload
	}
	e.server = server.New(options, e.fleet, e.scraper, registry, logger)
	return e
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
		Projects:     len(cfg.Projects),
		MinInterval:  cfg.Scrape.MinInterval,
		MaxStaleness: cfg.Scrape.MaxStaleness,
	})
	e.server.Configure(collector.Options{Connections: e.flags.connections, MaxConnections: cfg.Scrape.MaxConnections})
	e.fleet.Apply(fleet)
	for _, old := range e.projects {
		if !slices.ContainsFunc(projects, func(p configured) bool { return p.project.Client == old.project.Client }) {
			old.project.Client.CloseIdleConnections()
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
		i := slices.IndexFunc(e.projects, func(old configured) bool { return same(old.file, file) })
		if i >= 0 {
			projects = append(projects, e.projects[i])
			continue
		}
		project, err := newProject(&file, cfg.Scrape.Concurrency, e.env, e.guard, e.metrics.Observe)
		if err != nil {
			return nil, nil, err
		}
		projects = append(projects, configured{file, project})
	}
	return cfg, projects, nil
}

// same says whether the file says the same of a project. Regular expressions are compared by their text.
func same(a, b config.Project) bool {
	if a.Discovery != nil && b.Discovery != nil {
		if fmt.Sprint(a.Discovery.Name, a.Discovery.Engine) != fmt.Sprint(b.Discovery.Name, b.Discovery.Engine) {
			return false
		}
		ours, theirs := *a.Discovery, *b.Discovery
		ours.Name, ours.Engine, theirs.Name, theirs.Engine = nil, nil, nil, nil
		a.Discovery, b.Discovery = &ours, &theirs
	}
	return reflect.DeepEqual(a, b)
}

// newProject makes of a project of the file one that can be asked.
func newProject(p *config.Project, concurrency int, env config.Environment, guard *css.Guard, observe func(css.Exchange)) (discovery.Project, error) {
	source, err := newCredentials(&p.Credentials, env)
	if err != nil {
		return discovery.Project{}, fmt.Errorf("project %s: %w", p.Name, err)
	}
	tlsConfig, err := promconfig.NewTLSConfig(&p.TLSConfig)
	if err != nil {
		return discovery.Project{}, fmt.Errorf("project %s: tls_config: %w", p.Name, err)
	}
	project := discovery.Project{
		Name:   p.Name,
		Region: p.Region,
		Client: css.NewClient(css.Options{
			Region:      p.Region,
			ProjectID:   p.ProjectID,
			Endpoint:    p.Endpoint,
			IAMEndpoint: p.IAMEndpoint,
			UserAgent:   name + "/" + cmp.Or(version.Version, "devel"), // a plain go build stamps no version
			Credentials: source,
			Guard:       guard,
			Transport:   css.NewTransport(tlsConfig, p.ProxyURL, concurrency),
			Observe:     observe,
		}),
		Budget: rate.NewLimiter(rate.Limit(p.RequestsPerSecond), int(math.Ceil(p.RequestsPerSecond))),
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

// newCredentials makes the source that the file names.
func newCredentials(c *config.Credentials, env config.Environment) (css.CredentialSource, error) {
	switch {
	case c.User != nil, c.ECSAgency, c.Profile != "":
		return nil, errors.New("credentials: user, ecs_agency and profile are not supported by this version; " +
			"use access_key and secret_key, their files, token_file, or the environment")
	case *c == config.Credentials{}:
		return css.Environment(env), nil
	}
	return css.NewFiles(
		css.Credentials{
			AccessKey: string(c.AccessKey), SecretKey: string(c.SecretKey), SecurityToken: string(c.SecurityToken),
		},
		css.Credentials{
			AccessKey: c.AccessKeyFile, SecretKey: c.SecretKeyFile, SecurityToken: c.SecurityTokenFile,
			AuthToken: c.TokenFile,
		},
	), nil
}

// close ends what newExporter began.
func (e *exporter) close() {
	e.scraper.Wait()
	for _, p := range e.projects {
		p.project.Client.CloseIdleConnections()
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

// announceDemo says where to look, and keeps the demo on this machine unless it was told otherwise.
func (e *exporter) announceDemo() {
	if addresses := *e.flags.web.WebListenAddresses; !e.flags.webGiven && slices.Equal(addresses, []string{listenAddress}) {
		*e.flags.web.WebListenAddresses = []string{"127.0.0.1" + listenAddress}
	}
	for _, address := range *e.flags.web.WebListenAddresses {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			continue // the server will say so
		}
		if host == "" {
			host = "localhost"
		}
		base := "http://" + net.JoinHostPort(host, port)
		e.logger.Info("The demo shows a simulated cloud; open these addresses",
			"landing_page", base+"/", "metrics", base+e.flags.server.TelemetryPath)
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
