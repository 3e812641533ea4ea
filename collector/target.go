// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"time"

	"css_vpcep_exporter/css"

	"golang.org/x/time/rate"
)

// Reader reads a cluster's connections; css.Client does.
type Reader interface {
	Connections(ctx context.Context, clusterID string, last *css.ConnectionList, admit css.Admit) (*css.ConnectionList, error)
	// Resting gives the reason for which no call would be made now, nil if one would.
	Resting(ctx context.Context) error
	// KnownProjectID is empty until the project's id is known.
	KnownProjectID() string
}

// Target is a cluster to be scraped.
type Target struct {
	Project   string // the project's name in the file
	Region    string
	ProjectID string
	Cluster   css.Cluster
	Labels    map[string]string // further labels of cluster_info
	Reader    Reader
	Budget    *rate.Limiter // requests of the project; shared by its targets
}

// Outcome is what a scrape got of one target.
type Outcome struct {
	Target Target
	// List is nil if there is nothing to show. With an Err it is the last good list, shown because it is not yet too old.
	List *css.ConnectionList
	// ReadAt is when List was read.
	ReadAt time.Time
	// Err is why the target could not be read by this scrape.
	Err error
	// Duration is the time that this scrape spent on the target.
	Duration time.Duration
}
