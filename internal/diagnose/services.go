// SPDX-License-Identifier: Apache-2.0

package diagnose

import "slices"

// service is an endpoint to which the exporter sends requests for a project.
type service struct{ name, endpoint string }

func (s *session) css() service { return service{"CSS", s.p.Endpoint} }
func (s *session) iam() service { return service{"IAM", s.p.IAMEndpoint} }

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
	return needed
}
