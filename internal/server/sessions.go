// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"sync"
	"sync/atomic"

	"css_vpcep_exporter/collector"
	"css_vpcep_exporter/internal/discovery"
	"css_vpcep_exporter/internal/sessions"
)

// offerSessions makes the projects of scraped targets read their sessions, if that is due.
func (s *Server) offerSessions(targets []collector.Target) {
	var last collector.Sessions
	for i := range targets {
		t := &targets[i]
		if t.Sessions == nil || t.Sessions == last { // targets of a project follow each other
			continue
		}
		last = t.Sessions
		if reader, ok := last.(*sessions.Reader); ok && reader.Due() {
			key := t.Key
			reader.Offer(func() []string { return s.connectionIDs(s.fleet.Known(), key) })
		}
	}
}

// connectionIDs returns the connections of a project that have series of their own, by the last lists.
func (s *Server) connectionIDs(known *discovery.Known, projectKey string) []string {
	options := *s.metrics.Load()
	var ids []string
	for i := range known.Targets {
		if t := &known.Targets[i]; t.Project.Key == projectKey {
			ids = append(ids, options.ConnectionIDs(s.scraper.State(projectKey, t.Cluster.ID).List)...)
		}
	}
	return ids
}

// readSessions reads the sessions of all projects, and returns how many could not be read.
func (s *Server) readSessions(ctx context.Context, known *discovery.Known) int {
	readers := make(map[string]*sessions.Reader)
	for i := range known.Targets {
		if p := known.Targets[i].Project; p.Sessions != nil {
			readers[p.Key] = p.Sessions
		}
	}
	var wg sync.WaitGroup
	var failed atomic.Int64
	for key, reader := range readers {
		wg.Go(func() {
			if reader.Read(ctx, s.connectionIDs(known, key)) != nil {
				failed.Add(1)
			}
		})
	}
	wg.Wait()
	return int(failed.Load())
}
