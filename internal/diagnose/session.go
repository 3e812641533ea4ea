// SPDX-License-Identifier: Apache-2.0

package diagnose

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/diagnose/apifacts"
	"css_vpcep_exporter/internal/diagnose/endpoint"
	"css_vpcep_exporter/internal/diagnose/report"
)

// session is the diagnosis of one project.
type session struct {
	*diagnosis
	p *Project

	key           [sha256.Size]byte // fingerprint of the credentials
	noCredentials string            // why there are none
	rejected      bool              // the credentials, by authenticate
	reached       map[service]bool

	id       string
	idErr    error
	wrongID  bool // it is not that of the region
	clusters clusterList
	targets  []css.Cluster
	readings []*reading
	extra    int // pages after the first that were read
	shapes   *apifacts.Shapes
	api      apifacts.Observations

	sessions    apifacts.Sessions
	sessionsErr error
}

func newSession(d *diagnosis, p *Project) *session {
	s := &session{diagnosis: d, p: p, shapes: apifacts.NewShapes(), reached: make(map[service]bool)}
	s.sessions.Result = "not configured"
	if p.Sessions != nil {
		s.sessions.Skip("interrupted")
		s.sessions.BatchSize = p.Sessions.BatchSize
	}
	return s
}

// run takes the steps in the order in which a request of the exporter depends on them.
func (s *session) run(ctx context.Context) {
	s.Line("")
	s.Heading("Project " + report.Label(s.p.Name) + ", region " + report.Label(s.p.Region) + ", at most " +
		strconv.FormatFloat(float64(s.p.Budget.Limit()), 'g', -1, 64) + " requests per second")
	s.approach(ctx)
	s.step(ctx, "authentication", s.authenticate)
	s.step(ctx, "project ID", s.judgeID)
	s.step(ctx, "cluster list", s.judgeClusters)
	s.readConnections(ctx)
	s.step(ctx, "sessions", s.readSessions)
	s.observe(ctx)
}

// approach takes the steps up to the credentials that sign the requests.
func (s *session) approach(ctx context.Context) {
	if s.step(ctx, "credentials", s.findCredentials).State != report.OK {
		s.noCredentials = "there are no credentials"
	}
	s.step(ctx, "proxy", func(context.Context) report.Finding { return s.judgeProxies() })
	for _, to := range s.services() {
		s.reached[to] = s.reach(ctx, to)
	}
	if s.p.Login && s.noCredentials == "" && s.step(ctx, "login", s.logIn).State != report.OK {
		s.noCredentials = "there was no login"
	}
	if s.step(ctx, "agency", s.assumeAgency).State != report.OK && s.p.Agency != nil && s.noCredentials == "" {
		s.noCredentials = "the agency was not assumed"
	}
}

// maxRejections of the same credentials are allowed in all projects, even if other requests are accepted in between.
const maxRejections = 3

// call bounds a signed request. It waits for the request budget first, so that a low requests_per_second is no timeout,
// and fails if no request is left, or the credentials were rejected too often.
func (s *session) call(ctx context.Context, do func(context.Context) error) error {
	switch {
	case s.p.Meter.left() == 0:
		return apifacts.ErrLimit
	case s.rejections[s.key] >= maxRejections:
		return &cloud.Error{Reason: cloud.ReasonAuth, Operation: "credentials", Message: fmt.Sprintf(
			"they were rejected %d times, and are not tried again", maxRejections)}
	}
	for s.p.Budget.Tokens() < 1 {
		wait := time.Duration((1 - s.p.Budget.Tokens()) / float64(s.p.Budget.Limit()) * float64(time.Second))
		if !cloud.Sleep(ctx, wait+time.Millisecond) {
			return ctx.Err()
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	err := do(ctx)
	if e, isError := errors.AsType[*cloud.Error](err); isError && e.Reason == cloud.ReasonAuth && e.Sent {
		s.rejections[s.key]++
	}
	if err != nil && s.p.Meter.exceeded() { // net/http has sent the request more than once
		return apifacts.ErrLimit
	}
	return err
}

func (s *session) findCredentials(ctx context.Context) report.Finding {
	if s.p.Login {
		from, _ := s.p.Origin()
		return report.OKf("from %s, see below", report.Label(from))
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	return s.describeCredentials(ctx, s.p.Credentials, s.p.Origin)
}

func (s *session) logIn(ctx context.Context) report.Finding {
	if by := s.loginService(); !s.reached[by] {
		return report.Skippedf("%s cannot be reached", by.name)
	}
	return s.obtain(ctx, s.p.Credentials, s.p.Origin)
}

func (s *session) assumeAgency(ctx context.Context) report.Finding {
	by := s.agencyService()
	switch {
	case s.p.Agency == nil:
		return report.Skippedf("not configured")
	case s.noCredentials != "":
		return report.Skippedf("%s", s.noCredentials)
	case !s.reached[by]:
		return report.Skippedf("%s cannot be reached", by.name)
	}
	return s.obtain(ctx, s.p.Agency, s.p.AgencyOrigin)
}

type origin = func() (from string, expires time.Time)

// obtain sends a request for credentials.
func (s *session) obtain(ctx context.Context, source cloud.CredentialSource, from origin) report.Finding {
	f := report.Finding{}
	err := s.call(ctx, func(ctx context.Context) error {
		f = s.describeCredentials(ctx, source, from)
		return nil
	})
	if err != nil {
		return s.stop(err)
	}
	return f
}

// describeCredentials remembers the credentials, with which later requests are sent.
func (s *session) describeCredentials(ctx context.Context, source cloud.CredentialSource, origin origin) report.Finding {
	c, err := source.Credentials(ctx)
	if err != nil {
		f := report.Error(err)
		if f.Advice == "" {
			f.Advice = "set credentials in the configuration file, or check the variables or files that hold them"
		}
		return f
	}
	s.key = c.Fingerprint()
	from, expires := origin()
	text := "token (not shown)"
	if c.AuthToken == "" {
		text = "access key " + shorten(c.AccessKey)
	}
	if c.SecurityToken != "" {
		text += " with a security token"
	}
	text += " from " + report.Label(from)
	switch left := time.Until(expires).Round(time.Minute); {
	case expires.IsZero():
		text += "; no known expiry"
	default:
		text += fmt.Sprintf("; it expires at %s, in %s", report.UTC(expires), left)
	}
	return report.OKf("%s", text)
}

// shorten shows at most the first four and the last two characters of an access key, and never more than a third.
func shorten(key string) string {
	shown := len(key) / 3
	head := min(4, shown)
	tail := min(2, shown-head)
	return key[:head] + "…" + key[len(key)-tail:]
}

// authenticate sends the project's first request with credentials, whose result later steps use.
func (s *session) authenticate(ctx context.Context) report.Finding {
	var err error
	by := "CSS"
	switch {
	case s.noCredentials != "":
		return report.Skippedf("%s", s.noCredentials)
	case s.p.ID == "" && !s.reached[s.iam()]:
		return report.Skippedf("IAM cannot be reached")
	case s.p.ID == "":
		by = "IAM"
		err = s.call(ctx, func(ctx context.Context) error {
			s.id, s.idErr = s.p.CSS.ProjectID(ctx)
			return s.idErr
		})
		s.idErr = err
	case !s.reached[s.css()]:
		return report.Skippedf("CSS cannot be reached")
	case s.p.LeftOut != nil:
		s.id = s.p.ID
		err = s.listClusters(ctx)
	default:
		s.id = s.p.ID
		s.targets = s.p.Listed
		if len(s.targets) > 0 {
			err = s.read(ctx, &s.targets[0]).err
		}
	}
	if errors.Is(err, apifacts.ErrLimit) {
		return report.Skippedf("the response does not tell (see below)")
	}
	f := judgeAuthentication(err, by)
	s.rejected = f.State == report.Failed
	return f
}

func judgeAuthentication(err error, by string) report.Finding {
	e, isError := errors.AsType[*cloud.Error](err)
	switch {
	case err == nil:
		return report.OKf("%s accepts the credentials", by)
	case isError && e.Reason == cloud.ReasonAuth:
		return report.Error(err)
	case isError && e.Code != "" && e.Status/100 == 4 && e.Reason != cloud.ReasonThrottled &&
		(e.Reason == cloud.ReasonDenied || !strings.HasPrefix(e.Code, "APIG")): // the gateway may know no such API
		return report.OKf("%s accepts the credentials, and refuses the request (see below)", by)
	}
	return report.Skippedf("the response does not tell (see below)")
}

// stop returns the finding for a request that was not sent.
func (s *session) stop(err error) report.Finding {
	if errors.Is(err, apifacts.ErrLimit) {
		return report.Failure(fmt.Sprintf("the limit of %d requests is reached: the server broke connections or refused "+
			"requests again and again", MaxRequests), endpoint.HintAgain)
	}
	return report.Error(err)
}

func (s *session) judgeID(ctx context.Context) report.Finding {
	switch {
	case s.noCredentials != "":
		return report.Skippedf("%s", s.noCredentials)
	case s.p.ID == "" && !s.reached[s.iam()]:
		return report.Skippedf("IAM cannot be reached")
	case s.rejected && s.p.ID == "":
		return report.Skippedf("authentication failed")
	case s.idErr != nil:
		return s.stop(s.idErr)
	case s.p.ID == "":
		return report.OKf("%s, found in IAM by the name %s", report.Label(s.id), report.Label(s.p.Region))
	}
	err := s.clusters.err // or of the first cluster, by authenticate
	if len(s.readings) > 0 {
		err = s.readings[0].err
	}
	if err != nil && s.p.IAMEndpoint != "" &&
		(cloud.ReasonOf(err) == cloud.ReasonDenied || cloud.ReasonOf(err) == cloud.ReasonNotFound) {
		return s.compareID(ctx)
	}
	return report.OKf("%s, from the configuration", report.Label(s.p.ID))
}

// compareID looks up the ID of the region's project, because the configured one was refused.
func (s *session) compareID(ctx context.Context) report.Finding {
	var id string
	err := s.call(ctx, func(ctx context.Context) (err error) {
		id, err = s.p.Lookup.ID(ctx)
		return err
	})
	switch {
	case err != nil:
		return report.OKf("%s, from the configuration; whether it is that of the region is not known: %s",
			report.Label(s.p.ID), err)
	case id != s.p.ID:
		s.wrongID = len(s.readings) == 0 // else another cluster may prove it right: that of a subproject
		return report.Failure(fmt.Sprintf("%s is configured, but IAM says that the project of region %s is %s",
			report.Label(s.p.ID), report.Label(s.p.Region), report.Label(id)),
			"correct project_id, or remove it to have it looked up; if it is that of a subproject, allow the user to read "+
				"its clusters")
	}
	return report.OKf("%s, from the configuration, and IAM says so too", report.Label(s.p.ID))
}

// clusterList is the result of reading the cluster list.
type clusterList struct {
	read  bool
	err   error
	list  []css.Cluster
	total string // " of 12 reported", if more
	more  int    // clusters that were not listed
	pages int
}

const maxClusterPages = 2

func (s *session) listClusters(ctx context.Context) error {
	l := &s.clusters
	l.read = true
	seen := make(map[string]struct{})
	for received := 0; l.pages < maxClusterPages; {
		query := map[string][]string{"limit": {"1000"}}
		if received > 0 {
			next := strconv.Itoa(received + 1)
			query["start"], query["offset"] = []string{next}, []string{next}
		}
		var page *css.ClusterPage
		err := s.call(ctx, func(ctx context.Context) (err error) {
			page, err = s.p.CSS.ClustersPage(ctx, query)
			return err
		})
		if err != nil {
			l.err = err
			return err
		}
		l.pages++
		s.shapes.Clusters(page.Body)
		fresh := 0
		for _, c := range page.Clusters {
			if _, known := seen[c.ID]; !known && c.ID != "" {
				seen[c.ID] = struct{}{}
				l.list = append(l.list, c)
				fresh++
			}
		}
		received += len(page.Clusters)
		l.total, l.more = "", 0
		if !page.Total.Set || float64(len(l.list)) >= page.Total.Value || fresh == 0 {
			break
		}
		l.total = fmt.Sprintf(" of %.16g that the API reports", page.Total.Value)
		l.more = int(min(page.Total.Value, 100_000)) - len(l.list)
	}
	return nil
}

func (s *session) judgeClusters(ctx context.Context) report.Finding {
	if why := s.blocked(); why != "" {
		return report.Skippedf("%s", why)
	}
	s.targets = slices.Clone(s.p.Listed)
	if s.p.LeftOut == nil {
		return report.Skippedf("discovery is off; %s in the configuration",
			report.Count(len(s.p.Listed), "cluster is listed", "clusters are listed"))
	}
	if !s.clusters.read {
		_ = s.listClusters(ctx)
	}
	if err := s.clusters.err; err != nil {
		return s.stop(err)
	}
	listed := make(map[string]bool)
	for _, c := range s.p.Listed {
		listed[c.ID] = true
	}
	why := make(map[string]int)
	for i := range s.clusters.list {
		c := &s.clusters.list[i]
		switch reason := s.p.LeftOut(c); {
		case listed[c.ID]:
		case reason != "":
			why[reason]++
		default:
			s.targets = append(s.targets, *c)
		}
	}
	text := fmt.Sprintf("%s%s, %d to be scraped", report.Count(len(s.clusters.list), "cluster", "clusters"),
		s.clusters.total, len(s.targets))
	if len(s.clusters.list) == 0 {
		text += "; if there should be some, check project_id, and whether the user may see their enterprise project"
	}
	var reasons []string
	for _, reason := range slices.Sorted(maps.Keys(why)) {
		reasons = append(reasons, fmt.Sprintf("%d (%s)", why[reason], reason))
	}
	if len(reasons) > 0 {
		text += "; left out: " + strings.Join(reasons, ", ")
	}
	return report.OKf("%s", text)
}

// blocked returns why no request to CSS with credentials can be sent, or "".
func (s *session) blocked() string { return s.blockedFor(s.css()) }

// blockedFor is like blocked for another service that knows projects.
func (s *session) blockedFor(to service) string {
	switch {
	case s.noCredentials != "":
		return s.noCredentials
	case !s.reached[to]:
		return to.name + " cannot be reached"
	case s.id == "":
		return "the project ID is not known"
	case s.wrongID:
		return "the project ID is not that of the region"
	case s.rejected:
		return "authentication failed"
	}
	return ""
}

// stopped returns why the next request should not be sent although the others before it could be, or "".
func (s *session) stopped() string {
	for _, err := range s.errors() {
		switch {
		case err == nil:
		case cloud.ReasonOf(err) == cloud.ReasonThrottled:
			return "the API throttles requests"
		case cloud.ReasonOf(err) == cloud.ReasonAuth:
			return "the API rejects the credentials"
		}
	}
	if s.sessionsErr != nil && cloud.ReasonOf(s.sessionsErr) == cloud.ReasonAuth { // which others may accept
		return "Cloud Eye rejects the credentials"
	}
	return ""
}

// errors returns the results of requests for clusters and connections.
func (s *session) errors() []error {
	errs := []error{s.clusters.err}
	for _, r := range s.readings {
		errs = append(errs, r.err)
	}
	return errs
}
