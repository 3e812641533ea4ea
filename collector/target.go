// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"time"

	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/sessions"
)

// Reader reads clusters; css.Client implements it.
type Reader interface {
	// Reserve waits for the request budget, or fails at once if the cluster or its credentials are paused.
	Reserve(ctx context.Context, clusterID string) error
	// Connections returns the cluster's connections, or last if they have not changed since.
	Connections(ctx context.Context, clusterID string, last *css.ConnectionList) (*css.ConnectionList, error)
	// KnownProjectID returns the project's ID, or "" before it was looked up.
	KnownProjectID() string
}

// Sessions knows the sessions in use of a project's connections; sessions.Reader implements it.
type Sessions interface {
	// Values returns the same pointer until the values change. It may be nil.
	Values() *sessions.Values
}

// Target is a cluster to be scraped.
type Target struct {
	Key       string // of the project; reloads keep it
	Project   string // configured name
	Region    string
	ProjectID string // default: the Reader's, after the read
	Cluster   css.Cluster
	Labels    map[string]string
	Reader    Reader
	Sessions  Sessions // nil: not read
}

// Outcome is the result of scraping a target.
type Outcome struct {
	Target   Target
	List     *css.ConnectionList // an older one, or nil, if Err is set
	ReadAt   time.Time
	Err      error
	Duration time.Duration
}
