// SPDX-License-Identifier: Apache-2.0

// Package simulator serves a simulated cloud on loopback: CSS, IAM, STS, Cloud Eye, the ECS metadata service and CCE
// pod identities. It shares no code with the client, so that the two cannot share a mistake about the API.
package simulator

import (
	"cmp"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Options configures a Simulator.
type Options struct {
	Now  func() time.Time // default: time.Now
	Seed uint64           // of events and faults; issued secrets are always random
	// ClusterPageCap and ConnectionPageCap are maximum lengths of a page; 0 means no maximum.
	ClusterPageCap, ConnectionPageCap int
	ConnectionsPaging                 Paging

	KeepRequests int           // maximum length of Requests; default: 10,000
	TokenLife    time.Duration // of IAM tokens; default: 24 hours
	LockKeys     bool          // lock an access key at its fifth rejection in a row
}

// JSON is a value as it is sent, such as `3000` or `null`. An empty value is omitted.
type JSON string

// Text returns s as a JSON string.
func Text(s string) JSON {
	b, err := json.Marshal(s)
	if err != nil { // impossible
		panic(err)
	}
	return JSON(b)
}

// MarshalJSON implements json.Marshaler.
func (j JSON) MarshalJSON() ([]byte, error) {
	if j == "" {
		return []byte("null"), nil
	}
	return []byte(j), nil
}

// Key is an access key. Requests must also send and sign the SecurityToken, if it has one.
type Key struct {
	Access, Secret, SecurityToken string
	Expires                       time.Time
}

func (k Key) String() string { return "key " + k.Access }

// GoString omits the secrets, like String.
func (k Key) GoString() string { return k.String() }

// Project is a project of an account.
type Project struct {
	Name   string // not part of the API
	Region string
	ID     string
	Keys   []Key

	// In IAM; see listAccountProjects.
	IAMName  string // default: Region
	Domain   string // its account's ID; default: one for all
	Disabled bool
	IsDomain bool
}

func (p *Project) iamName() string { return cmp.Or(p.IAMName, p.Region) }

// Tag is a tag of a cluster.
type Tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Cluster is a CSS cluster.
type Cluster struct {
	ID, Name            string
	Status              string // "100" creating, "200" available, "303" unavailable
	Engine, Version     string
	EnterpriseProjectID string
	VPCID               string
	Tags                []Tag
	Created             time.Time
	Endpoint            JSON // sent as null if empty

	// ServiceOff makes requests for connections fail with CSS.5182.
	ServiceOff   bool
	ServiceName  JSON
	UpdateSwitch JSON
	Connections  []Connection
	// Unlisted connections are included in total_count, but not listed. If negative, total_count is too small.
	Unlisted  int
	OmitTotal bool // total_count
	// Permissions is omitted if nil, and sent as [] if empty.
	Permissions []Permission
	// Still exempts the cluster from Step.
	Still bool
}

// Connection is a VPC endpoint connection. Its fields are in the order of the vendor's example.
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

// Simulator simulates the cloud as an http.Handler. It is safe for concurrent use.
type Simulator struct {
	opts Options

	mu        sync.Mutex
	projects  []*project
	eventRand *rand.Rand
	faultRand *rand.Rand // separate, so that faults do not change events
	faults    map[Target][]*armedFault
	record    recorder

	throttles map[Target]*window
	keys      map[string]*keyState

	users          map[userID]*account
	tokens         map[tokenHash]*token
	metadataTokens map[tokenHash]time.Time // expiry times
	temporary      map[string]*temporaryKey
	agency         *agency
	pod            *pod
	federation     federation

	accountAgencies []*AccountAgency

	cloudEyes map[string]CloudEye     // by project ID
	sessions  map[string]sessionsFunc // by connection ID
	// usage returns the sessions of a connection after Step has changed it, or nil if Cloud Eye has none.
	usage func(Connection) sessionsFunc
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
		record: recorder{
			keep: o.KeepRequests, counts: make(map[Target]int), metrics: make(map[Metric]int),
		},

		throttles: make(map[Target]*window),
		keys:      make(map[string]*keyState),

		users:          make(map[userID]*account),
		tokens:         make(map[tokenHash]*token),
		metadataTokens: make(map[tokenHash]time.Time),
		temporary:      make(map[string]*temporaryKey),
		federation:     federation{tokens: make(map[tokenHash]federatedToken)},

		cloudEyes: make(map[string]CloudEye),
		sessions:  make(map[string]sessionsFunc),
	}
}

func (s *Simulator) String() string { return "simulator" }

// GoString omits all content, like String.
func (s *Simulator) GoString() string { return s.String() }

// AddProject adds or replaces a project. An existing one keeps its clusters.
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

// RemoveProject deletes a project with its clusters, and reports whether it existed.
func (s *Simulator) RemoveProject(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.projects)
	s.projects = slices.DeleteFunc(s.projects, func(p *project) bool { return p.ID == id })
	return len(s.projects) < before
}

// Projects returns copies of all projects.
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

// AddCluster adds or replaces a cluster. It panics if the project does not exist.
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

// UpdateCluster changes a cluster and reports whether it exists. change must not call the Simulator.
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

// Clusters returns copies of a project's clusters.
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
