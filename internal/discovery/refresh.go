// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/iam"
)

const firstRetryDelay = 5 * time.Second

// keepRefreshed refreshes p until ctx is done or, without discovery, until its ID is known.
func (f *Fleet) keepRefreshed(ctx context.Context, p *project, config *Project) {
	interval := time.Minute
	if config.Search != nil {
		interval = config.Search.RefreshInterval
	}
	firstRetry := min(firstRetryDelay, interval)
	retry := firstRetry
	for {
		err := f.refresh(ctx, p, config)
		wait := interval
		switch {
		case err == nil && config.Search == nil:
			return
		case err == nil:
			retry = firstRetry
		case !errors.Is(err, css.ErrIncomplete) || !f.wasRead(p): // an incomplete list is the next one, too
			wait, retry = retry, min(2*retry, interval)
		}
		if !cloud.Sleep(ctx, jitter(wait)) {
			return
		}
	}
}

func (f *Fleet) wasRead(p *project) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return p.read
}

func (f *Fleet) refresh(ctx context.Context, p *project, config *Project) error {
	id, err := config.Client.ProjectID(ctx)
	if err == nil {
		f.recordID(p, id)
	}
	var list []css.Cluster
	if err == nil && config.Search != nil {
		list, err = config.Client.Clusters(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if errors.Is(ctx.Err(), context.Canceled) { // replaced, or stopped
		return err
	}
	if config.Search != nil {
		p.recordList(list, err)
	}
	f.known = nil
	p.recordResult(err, f.logger.With("project", config.Name, "region", config.Region))
	return err
}

// recordID forgets the clusters if the project is another one than before, because its credentials changed.
func (f *Fleet) recordID(p *project, id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.id != "" && p.id != id {
		f.known, p.state = nil, state{since: time.Now(), tried: p.tried}
	}
	p.id = id
}

// maxMissed is the number of incomplete lists in a row after which a cluster that they lack is gone.
const maxMissed = 3

func (p *project) recordList(list []css.Cluster, err error) {
	missed := make(map[string]int)
	switch {
	case err == nil:
		p.read, p.lastOK = true, time.Now()
	case errors.Is(err, css.ErrIncomplete): // a missing cluster may still exist
		listed := make(map[string]struct{}, len(list))
		for i := range list {
			listed[list[i].ID] = struct{}{}
		}
		for _, c := range p.list {
			if _, ok := listed[c.ID]; ok || p.missed[c.ID]+1 == maxMissed {
				continue
			}
			missed[c.ID] = p.missed[c.ID] + 1
			list = append(list, c)
		}
	default:
		return
	}
	p.list, p.missed = list, missed
	p.filter()
}

func (p *project) filter() {
	p.found = nil
	for i := range p.list {
		if p.Search != nil && p.Search.matches(&p.list[i]) {
			p.found = append(p.found, p.list[i])
		}
	}
}

func (p *project) recordResult(err error, logger *slog.Logger) {
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
	case errors.Is(err, css.ErrIncomplete), errors.Is(err, iam.ErrIncomplete):
		return "incomplete"
	}
	return string(cloud.ReasonOf(err))
}

// IncompleteHint returns what to do about an incomplete list of clusters or projects, or "".
func IncompleteHint(err error) string {
	switch {
	case errors.Is(err, css.ErrIncomplete):
		return css.IncompleteHint
	case errors.Is(err, iam.ErrIncomplete):
		return iam.IncompleteHint
	case errors.Is(err, errTooMany):
		return "list fewer regions, or use several entries"
	}
	return ""
}

func logFields(err error) []any {
	fields := []any{"reason", reasonOf(err)}
	if hint := IncompleteHint(err); hint != "" {
		fields = append(fields, "hint", hint)
	}
	return append(fields, cloud.LogFields(err)...)
}

func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1) //nolint:gosec // jitter needs no secret randomness
}
