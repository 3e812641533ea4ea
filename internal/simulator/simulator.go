// SPDX-License-Identifier: Apache-2.0

// Package simulator is a CSS API on loopback, for --demo, tests and benchmarks: projects, clusters and their
// connections, signature checks, faults, throttling, and a fleet that changes by itself. It also serves the sources of
// credentials: IAM's project list and password logins, an ECS metadata service, and the temporary keys of a CCE pod.
//
// It never imports the client that it checks, so that a misreading of the wire format cannot hide in a shared struct.
// It uses the standard library only and listens on 127.0.0.1 only.
package simulator

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Options configures a Simulator. The zero value suits tests.
type Options struct {
	// Now is the simulator's clock; nil means time.Now.
	Now func() time.Time
	// Seed makes events and faults repeatable. Tokens and temporary keys are always random.
	Seed uint64
	// ClusterPageCap and ConnectionPageCap limit a page whatever the request's limit; 0 means no cap.
	ClusterPageCap    int
	ConnectionPageCap int
	// ConnectionsByStart selects the API of 2023 to mid-2025: start (1 to 1,000) instead of offset.
	ConnectionsByStart bool
	// KeepRequests limits Requests; 0 means 10,000.
	KeepRequests int
	// TokenLife is the lifetime of IAM tokens; 0 means 24 hours.
	TokenLife time.Duration
	// LockKeys locks an access key at the fifth refusal in a row, over all projects.
	LockKeys bool
}

// JSON is a value exactly as it appears on the wire: `3000`, `"3000"`, `null`. Empty values are omitted.
type JSON string

// Text returns s as a JSON string.
func Text(s string) JSON {
	b, err := json.Marshal(s)
	if err != nil { // impossible
		panic(err)
	}
	return JSON(b)
}

// MarshalJSON returns the value unchanged.
func (j JSON) MarshalJSON() ([]byte, error) {
	if j == "" {
		return []byte("null"), nil
	}
	return []byte(j), nil
}

// Key is an access key, valid until Expires if that is set. With a SecurityToken it is temporary: requests must also
// send and sign X-Security-Token.
type Key struct {
	Access, Secret, SecurityToken string
	Expires                       time.Time
}

// String omits the secrets.
func (k Key) String() string { return "key " + k.Access }

// GoString omits the secrets too.
func (k Key) GoString() string { return k.String() }

// Project is a project of an account in one region.
type Project struct {
	Name   string // not part of the API
	Region string // the project's name in IAM
	ID     string
	Keys   []Key
}

// Tag is a tag of a cluster.
type Tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Cluster is a CSS cluster with its VPC endpoint service.
type Cluster struct {
	ID, Name            string
	Status              string // "100" creating, "200" available, "303" unavailable
	Engine, Version     string
	EnterpriseProjectID string
	VPCID               string
	Tags                []Tag
	Created             time.Time
	Endpoint            JSON // sent as null if empty

	// ServiceOff makes connection requests fail with CSS.5182.
	ServiceOff   bool
	ServiceName  JSON
	UpdateSwitch JSON
	Connections  []Connection
	// Unlisted is added to total_count, but no page lists these endpoints.
	Unlisted int
	// Permissions is the allowlist: nil is omitted, an empty one is sent as [].
	Permissions []Permission
	// Still exempts the cluster from Step.
	Still bool
}

// Connection is a VPC endpoint of a cluster, in the field order of the vendor's example.
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

// Permission is an entry of a cluster's allowlist.
type Permission struct {
	ID         string `json:"id"`
	Permission string `json:"permission"`
	Type       string `json:"permission_type"`
	CreatedAt  JSON   `json:"created_at,omitempty"`
}

// Simulator is an http.Handler that serves the fleet. Its methods are safe for concurrent use.
type Simulator struct {
	opts Options

	mu        sync.Mutex
	projects  []*project
	eventRand *rand.Rand
	faultRand *rand.Rand // separate from eventRand, so that faults do not change events
	faults    map[Target][]*armedFault
	record    recorder

	throttles map[Target]*window
	keys      map[string]*keyState // by access key

	users          map[userID]*account
	tokens         map[tokenHash]*token     // IAM tokens
	metadataTokens map[tokenHash]time.Time  // expiry of metadata tokens
	temporary      map[string]*temporaryKey // by access key
	agency         *agency                  // nil if none
	pod            *pod                     // nil if none
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
		opts:      o,
		eventRand: rand.New(rand.NewPCG(o.Seed, 1)), //nolint:gosec // must be repeatable
		faultRand: rand.New(rand.NewPCG(o.Seed, 2)), //nolint:gosec // as above
		faults:    make(map[Target][]*armedFault),
		record:    recorder{keep: o.KeepRequests, counts: make(map[Target]int)},

		throttles: make(map[Target]*window),
		keys:      make(map[string]*keyState),

		users:          make(map[userID]*account),
		tokens:         make(map[tokenHash]*token),
		metadataTokens: make(map[tokenHash]time.Time),
		temporary:      make(map[string]*temporaryKey),
	}
}

// String shows nothing, because most of the content is secret.
func (s *Simulator) String() string { return "simulator" }

// GoString shows nothing either.
func (s *Simulator) GoString() string { return s.String() }

// AddProject adds a project, or replaces the one with the same ID except for its clusters.
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

// Projects returns copies of all projects, in the order of AddProject.
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

// AddCluster adds a cluster, or replaces the one with the same ID. It panics if the project does not exist.
func (s *Simulator) AddCluster(projectID string, c Cluster) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.project(projectID)
	if p == nil {
		panic("simulator: unknown project " + projectID + "; call AddProject first")
	}
	c = c.clone()
	if old := p.cluster(c.ID); old != nil {
		*old = c
		return
	}
	p.clusters = append(p.clusters, &c)
}

// RemoveCluster deletes a cluster and reports whether it existed.
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

// UpdateCluster changes a cluster in place and reports whether it exists. change must not call the simulator.
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

// Cluster returns a copy of a cluster.
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

// Clusters returns copies of a project's clusters, in the order of AddCluster.
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

// project returns nil if there is none. The caller holds s.mu.
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

func (c *Cluster) total() int { return len(c.Connections) + c.Unlisted }

func (c *Cluster) clone() Cluster {
	out := *c
	out.Tags = slices.Clone(c.Tags)
	out.Connections = slices.Clone(c.Connections)
	out.Permissions = slices.Clone(c.Permissions)
	return out
}
