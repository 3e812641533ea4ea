// SPDX-License-Identifier: Apache-2.0

// Package diagnose walks the path to each project's connections step by step, and finds out facts about the API that are
// safe to share. It touches the network, through the project's clients and transport settings, and writes a report.
package diagnose

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/diagnose/report"
	"css_vpcep_exporter/internal/iam"

	"golang.org/x/time/rate"
)

// MaxRequests is the maximum number of requests for a project.
const MaxRequests = 20

// maxRead is the number of clusters whose connections are read.
const maxRead = 3

// Options configure Run.
type Options struct {
	File          string // of the configuration, or what replaces it
	Projects      []Project
	Accounts      []Account
	Timeout       time.Duration // of a request
	ScrapeTimeout time.Duration
	TimeoutOffset time.Duration
	Concurrency   int
}

// Project is a project to be diagnosed.
type Project struct {
	Name, Region          string
	Public                bool // the region is built in, and so are its endpoints
	Endpoint, IAMEndpoint string
	ID                    string // from the configuration; may be empty

	Credentials cloud.CredentialSource
	Origin      func() (from string, expires time.Time)
	Login       bool   // the credentials come from IAM, or
	LoginSTS    string // from this endpoint of STS, if it is not empty

	Agency       cloud.CredentialSource // to be assumed with Credentials; may be nil
	AgencyOrigin func() (from string, expires time.Time)
	STSEndpoint  string // by which it is assumed; empty: by IAM

	Meter  *Meter // the transport of the clients
	Budget *rate.Limiter
	CSS    *css.Client
	Lookup *iam.Project // looks the ID up

	Sessions *Sessions // nil: not read

	Listed  []css.Cluster               // in the configuration: ID and name
	LeftOut func(c *css.Cluster) string // why a discovered cluster is not scraped, or ""; nil: no discovery
	Proxy   func(*url.URL) (*url.URL, error)
	ProxyIn string // the setting
	TLS     func() *tls.Config
	Agent   string // User-Agent
}

func (p *Project) transport() *http.Transport {
	return cloud.NewTransport(p.TLS(), func(r *http.Request) (*url.URL, error) { return p.Proxy(r.URL) })
}

// Run writes the report, and reports whether no step failed. It ends early with ctx. The error is that of writing.
func Run(ctx context.Context, o Options, to io.Writer) (ok bool, err error) {
	d := &diagnosis{Options: o, Writer: report.NewWriter(to), rejections: make(map[[sha256.Size]byte]int)}
	d.introduce()
	d.step(ctx, "configuration", func(context.Context) report.Finding {
		return report.OKf("%s is valid: %s", o.File, o.entries())
	})
	var sessions []*session
	run := func(projects []Project) {
		for i := range projects {
			s := newSession(d, &projects[i])
			s.run(ctx)
			sessions = append(sessions, s)
		}
	}
	run(o.Projects)
	for i := range o.Accounts {
		run(d.runAccount(ctx, &o.Accounts[i]))
	}
	d.Line("")
	d.Heading("All projects")
	d.step(ctx, "scrape timeout", func(context.Context) report.Finding { return d.judgeTimeout(sessions) })
	d.Line("")
	d.Heading("API facts (safe to share)")
	d.Line("They hold no ID, name, address or account. Please paste them into an issue.")
	for i, s := range sessions {
		d.Line("")
		if len(sessions) > 1 {
			d.Line(fmt.Sprintf("project: %d of %d", i+1, len(sessions)))
		}
		for _, fact := range s.facts() {
			d.Wrap("", "    ", fact)
		}
	}
	if ctx.Err() != nil {
		d.Line("")
		d.Line("Interrupted. What was not done is marked as skipped, or unknown.")
	}
	return !d.failed && ctx.Err() == nil, d.Err()
}

type diagnosis struct {
	Options
	*report.Writer
	failed     bool
	rejections map[[sha256.Size]byte]int // by fingerprint of credentials
}

// entries counts the entries of the configuration.
func (o *Options) entries() string {
	projects := report.Count(len(o.Projects), "project", "projects")
	accounts := report.Count(len(o.Accounts), "entry", "entries")
	switch {
	case len(o.Accounts) == 0:
		return projects
	case len(o.Projects) == 0:
		return accounts + " with regions"
	}
	return projects + " and " + accounts + " with regions"
}

func (d *diagnosis) introduce() {
	slowest := 0.0
	consider := func(p *Project) {
		slowest = max(slowest, float64(MaxRequests-p.Budget.Burst())/float64(p.Budget.Limit()))
	}
	for i := range d.Projects {
		consider(&d.Projects[i])
	}
	accounts := ""
	for i := range d.Accounts {
		consider(&d.Accounts[i].Project)
		accounts = fmt.Sprintf("Of an entry with regions, the list of projects and the first %d projects are read. ", MaxFound)
	}
	longest := time.Duration(MaxRequests+1)*d.Timeout + time.Duration(max(slowest, 0)*float64(time.Second))
	d.Text(fmt.Sprintf("Diagnosis of %s. At most %d requests are sent for each project, and none of them changes anything in "+
		"the cloud. Each request may take %s, and a project %s. Ctrl-C ends the diagnosis at once, with what was found. "+
		"%sRequests to services of this machine that issue credentials are not counted.",
		d.entries(), MaxRequests, d.Timeout, longest.Round(time.Second), accounts))
}

// step runs one step, unless the diagnosis is interrupted, and reports what it found.
func (d *diagnosis) step(ctx context.Context, name string, do func(context.Context) report.Finding) report.Finding {
	var f report.Finding
	if ctx.Err() == nil {
		f = do(ctx)
	}
	if ctx.Err() != nil && f.State != report.OK {
		f = report.Skippedf("interrupted")
	}
	d.failed = d.failed || f.State == report.Failed
	d.Finding(name, f)
	return f
}
