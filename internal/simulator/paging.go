// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"net/http"
	"net/url"
	"slices"
)

// Paging is how the API pages connections. Its generations differ, and so do the documents about one of them.
type Paging int

// The ways of paging. Parameters that are not named are ignored.
const (
	ByOffset        Paging = iota // limit, and offset from 0, as the vendor's page of 2025-08-15 says
	ByOffsetFromOne               // limit, and offset from 1, as the vendor's SDK says
	ByStart                       // limit, and start from 1, from 2023 to mid-2025
	ByLimit                       // limit
	ByLimitAlone                  // limit; a request with an offset or a start is refused
	Unpaged                       // none, in 2022
)

// position returns the number of items to skip and the maximum length of a page.
func (p Paging) position(query url.Values) (skip, limit int, valid bool) {
	const unlimited = 1 << 30
	limit, valid = intParam(query, "limit", 10, 1, 1000)
	inRange := true
	switch p {
	case ByOffset:
		skip, inRange = intParam(query, "offset", 0, 0, 1000)
	case ByOffsetFromOne:
		skip, inRange = intParam(query, "offset", 1, 1, 1000)
		skip--
	case ByStart:
		skip, inRange = intParam(query, "start", 1, 1, 1000)
		skip--
	case ByLimit:
	case ByLimitAlone:
		inRange = !query.Has("offset") && !query.Has("start")
	case Unpaged:
		return 0, unlimited, true
	}
	return skip, limit, valid && inRange
}

func (s *Simulator) listConnections(route route, query url.Values, fault Fault) response {
	skip, limit, valid := s.opts.ConnectionsPaging.position(query)
	if !valid {
		return cssError(http.StatusBadRequest, "CSS.0001", "Incorrect parameters.")
	}

	s.mu.Lock()
	var cluster *Cluster
	if p := s.project(route.projectID); p != nil {
		cluster = p.cluster(route.clusterID)
	}
	if cluster == nil {
		s.mu.Unlock()
		return cssError(http.StatusForbidden, "CSS.0015", "You do not have permission to access this cluster.")
	}
	if cluster.ServiceOff {
		s.mu.Unlock()
		return cssError(http.StatusBadRequest, "CSS.5182", "The VPC endpoint service is not enabled.")
	}
	from, to := fault.page(len(cluster.Connections), skip, limit, s.opts.ConnectionPageCap)
	page := append([]Connection{}, cluster.Connections[from:to]...)
	total := new(cluster.total())
	if cluster.OmitTotal {
		total = nil
	}
	body := struct {
		Connections  []Connection `json:"connections"`
		UpdateSwitch JSON         `json:"vpcepUpdateSwitch,omitempty"`
		TotalCount   *int         `json:"total_count,omitempty"`
		ServiceName  JSON         `json:"vpcServiceName,omitempty"`
		Permissions  []Permission `json:"permissions,omitzero"`
	}{
		repeatFirst(fault, page), cluster.UpdateSwitch, total, cluster.ServiceName,
		slices.Clone(cluster.Permissions),
	}
	s.mu.Unlock()
	return jsonResponse(http.StatusOK, body)
}
