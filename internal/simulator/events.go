// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// maxStepConnections limits the connections that Step adds to a cluster.
const maxStepConnections = 40

// The vendor's page of 2025-08-15 lists the first two statuses. The others are those of VPC endpoints.
const (
	statusAccepted = "accepted"
	statusRejected = "rejected"
	statusPending  = "pendingAcceptance"
	statusCreating = "creating"
	statusFailed   = "failed"
	statusDeleting = "deleting"
)

// Event is a change made by Step.
type Event struct {
	// Kind is asked, accepted, rejected, deleting, deleted, failed or touched.
	Kind                    string
	ClusterID, ConnectionID string
}

// Step makes one random change to an available cluster, except if Still or ServiceOff is set.
func (s *Simulator) Step() Event {
	now := s.opts.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	var candidates []*Cluster
	for _, p := range s.projects {
		for _, c := range p.clusters {
			if !c.Still && !c.ServiceOff && c.Status == "200" {
				candidates = append(candidates, c)
			}
		}
	}
	if len(candidates) == 0 {
		return Event{}
	}
	c := candidates[s.eventRand.IntN(len(candidates))]
	var event Event
	if len(c.Connections) == 0 || (len(c.Connections) < maxStepConnections && s.eventRand.IntN(4) == 0) {
		event = requestConnection(c, s.eventRand, now)
	} else {
		event = changeConnection(c, s.eventRand, now)
	}
	s.updateUsage(c, event.ConnectionID)
	return event
}

// updateUsage sets the sessions of a connection to what its usage is now. The caller holds s.mu.
func (s *Simulator) updateUsage(c *Cluster, connectionID string) {
	if s.usage == nil {
		return
	}
	delete(s.sessions, connectionID)
	i := slices.IndexFunc(c.Connections, func(x Connection) bool { return x.ID == connectionID })
	if i < 0 {
		return
	}
	if at := s.usage(c.Connections[i]); at != nil {
		s.sessions[connectionID] = at
	}
}

// Run calls Step at intervals until ctx is done.
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

func requestConnection(c *Cluster, rng *rand.Rand, now time.Time) Event {
	conn := Connection{
		ID: randomID(rng), Status: statusPending, MaxSession: Text("3000"), Specification: "default",
		IP:        fmt.Sprintf("192.168.%d.%d", rng.IntN(256), 2+rng.IntN(250)),
		CreatedAt: timeText(now),
		DomainID:  randomDomain(c, rng),
	}
	c.Connections = append(c.Connections, conn)
	return Event{"asked", c.ID, conn.ID}
}

func changeConnection(c *Cluster, rng *rand.Rand, now time.Time) Event {
	i := rng.IntN(len(c.Connections))
	conn := &c.Connections[i]
	if conn.Status == statusDeleting {
		event := Event{"deleted", c.ID, conn.ID}
		c.Connections = slices.Delete(c.Connections, i, i+1)
		return event
	}
	next := "touched"
	if choices := nextStatuses(conn.Status); len(choices) > 0 {
		next = choices[rng.IntN(len(choices))]
	}
	if next != "touched" {
		conn.Status = next
	}
	conn.UpdatedAt = timeText(now)
	return Event{next, c.ID, conn.ID}
}

// nextStatuses repeats likely statuses.
func nextStatuses(status string) []string {
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

func randomDomain(c *Cluster, rng *rand.Rand) string {
	if len(c.Connections) == 0 || rng.IntN(5) == 0 {
		return fmt.Sprintf("%016x%016x", rng.Uint64(), rng.Uint64())
	}
	return c.Connections[rng.IntN(len(c.Connections))].DomainID
}

func randomID(rng *rand.Rand) string {
	return uuid(fmt.Sprintf("%016x%016x", rng.Uint64(), rng.Uint64()))
}
