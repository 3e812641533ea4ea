// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// maxLivelyConnections is how many connections Step lets a cluster grow to.
const maxLivelyConnections = 40

// The statuses of an endpoint connection. The first two are on the vendor's
// page of 2025-08-15; the underlying VPC endpoint service has the others.
const (
	statusAccepted = "accepted"
	statusRejected = "rejected"
	statusPending  = "pendingAcceptance"
	statusCreating = "creating"
	statusFailed   = "failed"
	statusDeleting = "deleting"
)

// Event is what a Step did.
type Event struct {
	// Kind is asked, accepted, rejected, deleting, deleted, failed or touched.
	Kind                    string
	ClusterID, ConnectionID string
}

// Step makes one small random event in the fleet: a connection is asked for,
// accepted, rejected, deleted, fails, or gets an update time. Clusters that
// are still, off, or not available stay as they are. The event is zero if no
// cluster is left.
func (s *Simulator) Step() Event {
	now := s.opts.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	var lively []*Cluster
	for _, p := range s.projects {
		for _, c := range p.clusters {
			if !c.Still && !c.ServiceOff && c.Status == "200" {
				lively = append(lively, c)
			}
		}
	}
	if len(lively) == 0 {
		return Event{}
	}
	c := lively[s.life.IntN(len(lively))]
	if len(c.Connections) == 0 || (len(c.Connections) < maxLivelyConnections && s.life.IntN(4) == 0) {
		return ask(c, s.life, now)
	}
	return move(c, s.life, now)
}

// Run steps every interval, which must be above 0, until ctx ends.
func (s *Simulator) Run(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.Step()
		}
	}
}

// ask adds a connection that waits for acceptance.
func ask(c *Cluster, rng *rand.Rand, now time.Time) Event {
	conn := Connection{
		ID: randomID(rng), Status: statusPending, MaxSession: Text("3000"), Specification: "default",
		IP:        fmt.Sprintf("192.168.%d.%d", rng.IntN(256), 2+rng.IntN(250)),
		CreatedAt: timeText(now),
		DomainID:  someDomain(c, rng),
	}
	c.Connections = append(c.Connections, conn)
	return Event{"asked", c.ID, conn.ID}
}

// move takes one connection to a next status, or only gives it an update time.
func move(c *Cluster, rng *rand.Rand, now time.Time) Event {
	i := rng.IntN(len(c.Connections))
	conn := &c.Connections[i]
	next := "touched"
	switch choices := movesOf(conn.Status); {
	case conn.Status == statusDeleting:
		event := Event{"deleted", c.ID, conn.ID}
		c.Connections = append(c.Connections[:i], c.Connections[i+1:]...)
		return event
	case len(choices) > 0:
		next = choices[rng.IntN(len(choices))]
	}
	if next != "touched" {
		conn.Status = next
	}
	conn.UpdatedAt = timeText(now)
	return Event{next, c.ID, conn.ID}
}

// movesOf says what may become of a connection. What happens more often is
// there more than once.
func movesOf(status string) []string {
	switch status {
	case statusPending:
		return []string{statusAccepted, statusAccepted, statusAccepted, statusRejected, statusFailed}
	case statusCreating:
		return []string{statusAccepted, statusFailed}
	case statusAccepted:
		return []string{"touched", "touched", statusRejected, statusDeleting}
	case statusRejected:
		return []string{statusAccepted, statusAccepted, statusDeleting}
	case statusFailed:
		return []string{statusDeleting}
	}
	return nil
}

// someDomain is the owner of one of the cluster's connections, or a new one.
func someDomain(c *Cluster, rng *rand.Rand) string {
	if len(c.Connections) == 0 || rng.IntN(5) == 0 {
		return fmt.Sprintf("%016x%016x", rng.Uint64(), rng.Uint64())
	}
	return c.Connections[rng.IntN(len(c.Connections))].DomainID
}

// randomID looks like a random UUID.
func randomID(rng *rand.Rand) string {
	return uuid(fmt.Sprintf("%016x%016x", rng.Uint64(), rng.Uint64()))
}
