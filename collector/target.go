// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"time"

	"css_vpcep_exporter/css"
)

// Reader reads a cluster's connections; css.Client implements it.
type Reader interface {
	// Reserve waits for the request budget of the project. It fails at once if the cluster would not be requested now.
	Reserve(ctx context.Context, clusterID string) error
	// Connections returns last if the API's answer has not changed since.
	Connections(ctx context.Context, clusterID string, last *css.ConnectionList) (*css.ConnectionList, error)
	// KnownProjectID is empty until the project's ID is known.
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
}

// Outcome is what a scrape got of one target.
type Outcome struct {
	Target Target
	// List is nil if there is nothing to show. With an Err it is the last list that could be read, if that is not too old.
	List *css.ConnectionList
	// ReadAt is when List was read.
	ReadAt time.Time
	// Err is why this scrape could not read the target.
	Err error
	// Duration is the time that this scrape spent on the target.
	Duration time.Duration
}
