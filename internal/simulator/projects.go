// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
)

type projectBody struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	DomainID    string            `json:"domain_id"`
	ParentID    string            `json:"parent_id"`
	IsDomain    bool              `json:"is_domain"`
	Enabled     bool              `json:"enabled"`
	Description string            `json:"description"`
	Links       map[string]string `json:"links"`
}

func newProjectBody(p *Project) projectBody {
	domain := cmp.Or(p.Domain, hexID("domain of the account"))
	return projectBody{
		ID: p.ID, Name: p.iamName(), DomainID: domain, ParentID: domain, IsDomain: p.IsDomain, Enabled: !p.Disabled,
		Links: map[string]string{"self": "/v3/projects/" + p.ID},
	}
}

func projectsResponse(self string, found []projectBody) response {
	return jsonResponse(http.StatusOK, struct {
		Projects []projectBody     `json:"projects"`
		Links    map[string]string `json:"links"`
	}{found, map[string]string{"self": self}})
}

// listProjects returns the projects of the caller with that name.
func (s *Simulator) listProjects(query url.Values, c caller) response {
	found := []projectBody{}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.projects {
		if slices.Contains(c.projectIDs, p.ID) && (!query.Has("name") || query.Get("name") == p.iamName()) {
			found = append(found, newProjectBody(&p.Project))
		}
	}
	return projectsResponse("/v3/projects", found)
}

// listAccountProjects returns all projects of the caller: those of its key, or of its user.
func (s *Simulator) listAccountProjects(c caller) response {
	found := []projectBody{}
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := c.projectIDs
	if user := s.users[c.user]; user != nil {
		ids = s.projectIDsOrAll(user.Projects)
	}
	for _, p := range s.projects {
		if slices.Contains(ids, p.ID) {
			found = append(found, newProjectBody(&p.Project))
		}
	}
	return projectsResponse("/v3/auth/projects", found)
}
