// SPDX-License-Identifier: Apache-2.0

// Package simulator is a loopback CSS API: projects with clusters, the
// connections and whitelists of their VPC endpoint services, signatures that
// are checked, faults that can be set, and a fleet that changes by itself. It
// serves --demo, tests and benchmarks.
//
// The same address serves what credentials come from: IAM's project list and
// its logins with a password, the metadata service of an ECS machine with an
// agency, and the temporary keys of a CCE pod. Tokens and temporary keys are
// made up, but expire, and are taken by the other calls as the cloud takes
// them.
//
// It is a reading of the vendor's pages of its own. It never imports the
// client that it is there to check, so that one mistake about the wire cannot
// hide in a shared struct. It uses the standard library only and opens no
// address but 127.0.0.1.
package simulator

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Options are the knobs of a Simulator. The zero value is good for tests.
type Options struct {
	// Now is the simulator's clock; nil means time.Now.
	Now func() time.Time
	// Seed rules every random choice: the same seed and the same calls give
	// the same fleet, events and faults. Tokens and temporary keys are never
	// the same twice, whatever the seed.
	Seed uint64
	// ClusterPageCap is the most clusters that one page of the cluster list
	// holds, whatever limit says; 0 means no cap.
	ClusterPageCap int
	// ConnectionPageCap is the same for the pages of connections.
	ConnectionPageCap int
	// ConnectionsByStart is the API as it was from 2023 to mid-2025: the page
	// of connections is said by start, from 1 to 1,000, and not by offset.
	ConnectionsByStart bool
	// KeepRequests is how many requests Requests remembers; 0 means 10,000.
	KeepRequests int
	// TokenLife is how long an IAM token is good; 0 means 24 hours.
	TokenLife time.Duration
	// LockKeys locks an access key with the fifth refusal in a row, over all
	// projects: from then on every request with it is refused.
	LockKeys bool
}

// JSON is a value exactly as it goes over the wire: `3000`, `"3000"`, `null`.
// The empty JSON is left out of the answer. Text makes one from a string.
type JSON string

// Text is a JSON string.
func Text(s string) JSON {
	b, err := json.Marshal(s)
	if err != nil { // A string always has a JSON form.
		panic(err)
	}
	return JSON(b)
}

// MarshalJSON gives the value as it is.
func (j JSON) MarshalJSON() ([]byte, error) {
	if j == "" {
		return []byte("null"), nil
	}
	return []byte(j), nil
}

// Key is an access key. A key with a SecurityToken is a temporary one: its
// requests must carry and sign X-Security-Token. From Expires on a key is
// refused; the zero time means that it never expires.
type Key struct {
	Access, Secret, SecurityToken string
	Expires                       time.Time
}

// String shows the access key alone, so that a key can be printed.
func (k Key) String() string { return "key " + k.Access }

// GoString is String, for %#v.
func (k Key) GoString() string { return k.String() }

// Project is a project of an account in one region.
type Project struct {
	Name   string // for people; the cloud does not know it
	Region string // what IAM calls the project's name
	ID     string
	Keys   []Key
}

// Tag is a tag of a cluster.
type Tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Cluster is a CSS cluster with its VPC endpoint service. Slices that are nil
// are left out of the answer where the API may leave them out.
type Cluster struct {
	ID, Name            string
	Status              string // "100" creating, "200" available, "303" unavailable
	Engine, Version     string
	EnterpriseProjectID string
	VPCID               string
	Tags                []Tag
	Created             time.Time
	Endpoint            JSON // empty is sent as null

	// ServiceOff switches the VPC endpoint service off: CSS.5182.
	ServiceOff   bool
	ServiceName  JSON
	UpdateSwitch JSON
	Connections  []Connection
	// Unlisted endpoints count in total_count, but no page lists them.
	Unlisted int
	// Permissions is the whitelist: nil is absent, an empty one is sent as [].
	Permissions []Permission
	// Still clusters are passed over by Step.
	Still bool
}

// Connection is a VPC endpoint of a cluster, in the order of the vendor's
// example.
type Connection struct {
	ID            string `json:"id"`
	Status        string `json:"status"`
	MaxSession    JSON   `json:"maxSession,omitempty"`
	Specification string `json:"specificationName"`
	IP            string `json:"vpcepIp"`
	IPv6          JSON   `json:"vpcepIpv6Address,omitempty"`
	DNSName       JSON   `json:"vpcepDnsName,omitempty"`
	CreatedAt     JSON   `json:"created_at,omitempty"`
	UpdatedAt     JSON   `json:"update_at,omitempty"`
	DomainID      string `json:"domain_id"`
}

// Permission is an entry of a cluster's whitelist.
type Permission struct {
	ID         string `json:"id"`
	Permission string `json:"permission"`
	Type       string `json:"permission_type"`
	CreatedAt  JSON   `json:"created_at,omitempty"`
}

// Simulator holds the fleet and is the http.Handler that serves it. All its
// methods may be called at any time and at once.
type Simulator struct {
	opts Options

	mu       sync.Mutex
	projects []*project
	life     *rand.Rand
	chance   *rand.Rand // of its own: faults must not change the fleet's life
	faults   map[Target][]*armedFault
	record   recorder

	throttles map[Target]*window
	keys      map[string]*keyState // by access key

	users     map[userID]*account
	tokens    map[tokenHash]*token     // of IAM
	metadata  map[tokenHash]time.Time  // metadata tokens, and when they expire
	temporary map[string]*temporaryKey // by access key
	agency    *agency                  // nil: the machine has none
	pod       *pod                     // nil: the pod has no identity
}

type project struct {
	Project
	clusters []*Cluster
}

// New returns a simulator without projects.
func New(o Options) *Simulator {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.KeepRequests <= 0 {
		o.KeepRequests = 10_000
	}
	if o.TokenLife <= 0 {
		o.TokenLife = 24 * time.Hour
	}
	return &Simulator{
		opts:   o,
		life:   rand.New(rand.NewPCG(o.Seed, 1)), //nolint:gosec // chance has to be repeatable here
		chance: rand.New(rand.NewPCG(o.Seed, 2)), //nolint:gosec // as above
		faults: make(map[Target][]*armedFault),
		record: recorder{keep: o.KeepRequests, counts: make(map[Target]int)},

		throttles: make(map[Target]*window),
		keys:      make(map[string]*keyState),

		users:     make(map[userID]*account),
		tokens:    make(map[tokenHash]*token),
		metadata:  make(map[tokenHash]time.Time),
		temporary: make(map[string]*temporaryKey),
	}
}

// String shows nothing: what a simulator holds is mostly secret.
func (s *Simulator) String() string { return "simulator" }

// GoString is String, for %#v.
func (s *Simulator) GoString() string { return s.String() }

// AddProject adds a project, or replaces the region, name and keys of the one
// with that id.
func (s *Simulator) AddProject(p Project) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.Keys = slices.Clone(p.Keys)
	if old := s.project(p.ID); old != nil {
		old.Project = p
		return
	}
	s.projects = append(s.projects, &project{Project: p})
}

// Projects returns every project with its keys, in the order in which they
// were added. The keys are made up and open nothing but the simulator.
func (s *Simulator) Projects() []Project {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Project, len(s.projects))
	for i, p := range s.projects {
		out[i] = p.Project
		out[i].Keys = slices.Clone(p.Keys)
	}
	return out
}

// AddCluster adds a cluster to a project, or replaces the one with that id.
// It panics if there is no such project: the caller has built its fleet wrong.
func (s *Simulator) AddCluster(projectID string, c Cluster) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.project(projectID)
	if p == nil {
		panic("simulator: no project " + projectID)
	}
	c = c.clone()
	if old := p.cluster(c.ID); old != nil {
		*old = c
		return
	}
	p.clusters = append(p.clusters, &c)
}

// RemoveCluster deletes a cluster. It is false if there is none of that id.
func (s *Simulator) RemoveCluster(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.projects {
		if i := slices.IndexFunc(p.clusters, func(c *Cluster) bool { return c.ID == id }); i >= 0 {
			p.clusters = slices.Delete(p.clusters, i, i+1)
			return true
		}
	}
	return false
}

// UpdateCluster changes a cluster in place. It is false if there is none of
// that id. The function must not call the simulator nor keep the pointer.
func (s *Simulator) UpdateCluster(id string, change func(*Cluster)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.projects {
		if c := p.cluster(id); c != nil {
			change(c)
			return true
		}
	}
	return false
}

// Cluster returns a copy of a cluster as it is now.
func (s *Simulator) Cluster(projectID, clusterID string) (Cluster, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.project(projectID)
	if p == nil {
		return Cluster{}, false
	}
	c := p.cluster(clusterID)
	if c == nil {
		return Cluster{}, false
	}
	return c.clone(), true
}

// Clusters returns copies of a project's clusters, in the order of the list.
func (s *Simulator) Clusters(projectID string) []Cluster {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.project(projectID)
	if p == nil {
		return nil
	}
	out := make([]Cluster, len(p.clusters))
	for i, c := range p.clusters {
		out[i] = c.clone()
	}
	return out
}

// project finds a project; s.mu is held.
func (s *Simulator) project(id string) *project {
	i := slices.IndexFunc(s.projects, func(p *project) bool { return p.ID == id })
	if i < 0 {
		return nil
	}
	return s.projects[i]
}

func (p *project) cluster(id string) *Cluster {
	i := slices.IndexFunc(p.clusters, func(c *Cluster) bool { return c.ID == id })
	if i < 0 {
		return nil
	}
	return p.clusters[i]
}

// total is what the API reports as total_count.
func (c *Cluster) total() int { return len(c.Connections) + c.Unlisted }

func (c *Cluster) clone() Cluster {
	out := *c
	out.Tags = slices.Clone(c.Tags)
	out.Connections = slices.Clone(c.Connections)
	out.Permissions = slices.Clone(c.Permissions)
	return out
}
