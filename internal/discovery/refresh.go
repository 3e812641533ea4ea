// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"
)

const firstRetryDelay = 5 * time.Second // doubled by each retry

// keepRefreshed refreshes p until ctx is done or, without discovery, until its ID is known.
func (f *Fleet) keepRefreshed(ctx context.Context, p *project) {
	wait := p.firstRetry()
	for {
		err := f.refresh(ctx, p)
		switch {
		case ctx.Err() != nil, err == nil && p.Search == nil:
			return
		case err == nil:
			wait = p.firstRetry()
			if !cloud.Sleep(ctx, jitter(p.Search.RefreshInterval)) {
				return
			}
		default:
			if !cloud.Sleep(ctx, jitter(wait)) {
				return
			}
			wait = min(2*wait, p.interval())
		}
	}
}

func (p *project) firstRetry() time.Duration { return min(firstRetryDelay, p.interval()) }

func (f *Fleet) refresh(ctx context.Context, p *project) error {
	err := p.refresh(ctx)
	if ctx.Err() != nil {
		return err
	}
	f.mu.Lock()
	f.known = nil // before Ready reports true
	f.mu.Unlock()
	p.recordResult(err, f.logger.With("project", p.Name, "region", p.Region))
	return err
}

func (p *project) interval() time.Duration {
	if p.Search == nil {
		return time.Minute
	}
	return p.Search.RefreshInterval
}

func (p *project) refresh(ctx context.Context) error {
	if _, err := p.Client.ProjectID(ctx); err != nil || p.Search == nil {
		return err
	}
	clusters, err := p.Client.Clusters(ctx)
	if err != nil && !errors.Is(err, css.ErrIncomplete) {
		return err
	}
	found := slices.DeleteFunc(clusters, func(c css.Cluster) bool { return !p.Search.matches(&c) })

	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil { // a missing cluster may still exist
		found = union(found, p.found)
	}
	p.found = found
	if err == nil {
		p.lastOK = time.Now()
	}
	return err
}

// recordResult stores the result of a refresh and logs changes.
func (p *project) recordResult(err error, logger *slog.Logger) {
	p.mu.Lock()
	defer p.mu.Unlock()
	first, before, reason := !p.tried, reasonOf(p.err), reasonOf(err)
	p.tried, p.err = true, err
	switch {
	case !first && before == reason:
	case err != nil && p.Search == nil:
		logger.Warn("Project ID lookup failed", logFields(err)...)
	case err != nil:
		logger.Warn("Discovery failed", logFields(err)...)
	case p.Search != nil:
		logger.Info("Discovery succeeded", "clusters", len(p.found))
	case !first:
		logger.Info("Project ID lookup succeeded")
	}
}

func reasonOf(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, css.ErrIncomplete):
		return "incomplete"
	}
	return string(cloud.ReasonOf(err))
}

// logFields returns the fields of a failed scrape.
func logFields(err error) []any {
	fields := []any{"reason", reasonOf(err)}
	if errors.Is(err, css.ErrIncomplete) {
		fields = append(fields, "hint", css.IncompleteHint)
	}
	return append(fields, cloud.LogFields(err)...)
}

func union(clusters, more []css.Cluster) []css.Cluster {
	known := make(map[string]struct{}, len(clusters))
	for i := range clusters {
		known[clusters[i].ID] = struct{}{}
	}
	for _, c := range more {
		if _, exists := known[c.ID]; !exists {
			clusters = append(clusters, c)
		}
	}
	return clusters
}

// jitter returns d plus or minus 10%.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1) //nolint:gosec // jitter needs no secret randomness
}
