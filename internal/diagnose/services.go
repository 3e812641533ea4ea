// SPDX-License-Identifier: Apache-2.0

package diagnose

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	"css_vpcep_exporter/internal/diagnose/apifacts"
	"css_vpcep_exporter/internal/diagnose/endpoint"
	"css_vpcep_exporter/internal/diagnose/report"
)

// service is an endpoint to which the exporter sends requests for a project.
type service struct{ name, endpoint string }

func (s *session) css() service { return service{"CSS", s.p.Endpoint} }
func (s *session) iam() service { return service{"IAM", s.p.IAMEndpoint} }

func (s *session) ces() service { return service{"CES", s.p.Sessions.Endpoint} }

// loginService is what issues the credentials of a Login.
func (s *session) loginService() service {
	if s.p.LoginSTS == "" {
		return s.iam()
	}
	return service{"STS", s.p.LoginSTS}
}

// agencyService is what issues the keys of the agency.
func (s *session) agencyService() service {
	switch s.p.STSEndpoint {
	case "":
		return s.iam()
	case s.p.LoginSTS:
		return s.loginService()
	}
	if s.p.LoginSTS != "" {
		return service{"agency STS", s.p.STSEndpoint}
	}
	return service{"STS", s.p.STSEndpoint}
}

// services returns those that the project needs, each once.
func (s *session) services() []service {
	var needed []service
	need := func(by service, used bool) {
		if used && !slices.Contains(needed, by) {
			needed = append(needed, by)
		}
	}
	need(s.css(), s.p.Endpoint != "")
	need(s.iam(), s.p.ID == "")
	need(s.loginService(), s.p.Login)
	need(s.agencyService(), s.p.Agency != nil)
	if s.p.Sessions != nil {
		need(s.ces(), true)
	}
	return needed
}

// judgeProxies reports which proxy is used, without its user and password.
func (s *session) judgeProxies() report.Finding {
	var used []string
	for _, service := range s.services() {
		u, err := url.Parse(service.endpoint)
		if err != nil {
			continue
		}
		proxy, err := s.p.Proxy(u)
		text := "none"
		switch {
		case err != nil:
			return report.Error(err)
		case proxy != nil:
			text = proxy.Scheme + "://" + proxy.Host + " from " + s.p.ProxyIn
			if proxy.User != nil {
				text += ", with user and password"
			}
		}
		used = append(used, service.name+": "+text)
	}
	return report.OKf("%s", strings.Join(used, "; "))
}

// reach reports the steps to an endpoint, and whether it can be reached.
func (s *session) reach(ctx context.Context, to service) bool {
	var t *endpoint.Trail
	s.step(ctx, to.name+" endpoint", func(ctx context.Context) report.Finding {
		t = s.probe(ctx, to)
		if errors.Is(t.Err(), apifacts.ErrLimit) {
			t = nil
			return report.Skippedf("the limit of %d requests is reached", MaxRequests)
		}
		return report.OKf("%s", to.endpoint)
	})
	if t == nil {
		return false
	}
	problem := ""
	for _, step := range t.Steps() {
		name := to.name + " " + step.Name
		// What was found before an interruption is shown.
		f := s.step(context.WithoutCancel(ctx), name, func(context.Context) report.Finding {
			if problem != "" {
				return report.Skippedf("%s", problem)
			}
			f := step.Judge()
			if f.State == report.Failed && ctx.Err() != nil {
				return report.Skippedf("interrupted")
			}
			return f
		})
		switch {
		case f.Text == "interrupted":
			problem = f.Text
		case f.State == report.Failed && step.Name != endpoint.Clock:
			problem = name + " failed"
		}
	}
	return t.Err() == nil && problem == ""
}

func (s *session) probe(ctx context.Context, to service) *endpoint.Trail {
	return endpoint.Probe(ctx, to.endpoint, endpoint.Means{
		Proxy: s.p.Proxy, Transport: s.p.transport(), Agent: s.p.Agent, Timeout: s.Timeout,
		Admit: func(ctx context.Context) error {
			if err := s.p.Budget.Wait(ctx); err != nil {
				return err
			}
			if !s.p.Meter.take() {
				return apifacts.ErrLimit
			}
			return nil
		},
	})
}
