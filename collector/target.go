// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"time"

	"css_vpcep_exporter/internal/css"
)

// Reader reads a cluster's connections; css.Client implements it.
type Reader interface {
	// Reserve waits for the project's request budget. It fails at once if the cluster or its credentials are paused.
	Reserve(ctx context.Context, clusterID string) error
	// Connections returns the cluster's connections; if the response has not changed since last, it returns last.
	Connections(ctx context.Context, clusterID string, last *css.ConnectionList) (*css.ConnectionList, error)
	// KnownProjectID returns the project's ID, or "" before it was looked up.
	KnownProjectID() string
}

// Target is a cluster to be scraped.
type Target struct {
	Project   string // configured name
	Region    string
	ProjectID string
	Cluster   css.Cluster
	Labels    map[string]string // configured labels of cluster_info
	Reader    Reader
}

// Outcome is the result of scraping one target. With an Err, List is the last list unless it is too old.
type Outcome struct {
	Target   Target
	List     *css.ConnectionList // nil if there is none to show
	ReadAt   time.Time           // when List was read
	Err      error
	Duration time.Duration
}
