// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The project of the demo in another account, and the agency of that account, which the key of the project before it
// may assume.
const (
	DemoPartner        = "partner"
	DemoPartnerAccount = "partner-account"
	DemoPartnerAgency  = "css-reader"
)

// Demo returns the fleet of --demo, with an example of everything that the exporter can show. IDs are constant.
func Demo(o Options) *Simulator {
	s := New(o)
	d := demo{s, s.opts.Now().UTC().Truncate(time.Second)}
	production := d.project("production", "cn-north-4")
	staging := d.project("staging", "ap-southeast-3")

	for _, c := range []Cluster{
		d.everyStatus(), d.openToAll(), d.serviceOff(), d.logstash(), d.beingCreated(), d.large(), d.truncated(),
	} {
		s.AddCluster(production, c)
	}
	for _, c := range []Cluster{d.organization(), d.flapping(), d.denied()} {
		s.AddCluster(staging, c)
	}
	partner := d.project(DemoPartner, "cn-south-1")
	s.AddCluster(partner, d.partnerCluster())
	s.AddAgency(AccountAgency{
		Name: DemoPartnerAgency, DomainName: DemoPartnerAccount, DomainID: owner("second"),
		Callers: []string{demoKey("staging").Access}, Projects: []string{partner},
	})
	s.usage = demoUsage
	for _, p := range s.projects {
		for _, c := range p.clusters {
			for _, x := range c.Connections {
				s.updateUsage(c, x.ID)
			}
		}
	}
	s.SetSessions(demoFullest(), DailySessions(demoFullest(), 0.84*basicSessions, 0.98*basicSessions))
	return s
}

const basicSessions = 3000 // allowed by a basic endpoint

// demoFullest returns the ID of the connection that comes near its limit.
func demoFullest() string { return connectionID("audit-trail", 0) }

// demoUsage returns the sessions of an accepted connection of the demo's own account, whose endpoints Cloud Eye shows.
func demoUsage(c Connection) sessionsFunc {
	if c.Status != statusAccepted || c.DomainID != owner("first") {
		return nil
	}
	limit, err := strconv.ParseFloat(strings.Trim(string(c.MaxSession), `"`), 64)
	if err != nil { // no limit
		limit = basicSessions
	}
	return DailySessions(c.ID, 0.1*limit, (0.2+0.5*hashed("peak of "+c.ID))*limit)
}

type demo struct {
	sim *Simulator
	now time.Time
}

func (d demo) project(name, region string) string {
	id := hexID("project " + name)
	d.sim.AddProject(Project{Name: name, Region: region, ID: id, Keys: []Key{demoKey(name)}})
	return id
}

func demoKey(project string) Key {
	return Key{
		Access: "SIMULATED-ACCESS-KEY-" + project,
		Secret: "simulated-secret-key-" + project + "-opens-nothing",
	}
}

func (d demo) cluster(name, engine, version string, ageDays int) Cluster {
	id := namedID("cluster " + name)
	return Cluster{
		ID: id, Name: name, Status: "200", Engine: engine, Version: version,
		EnterpriseProjectID: "0", VPCID: namedID("vpc of " + name),
		Tags:    []Tag{{"team", "search"}, {"stage", "prod"}},
		Created: d.daysAgo(ageDays), Endpoint: Text("192.168.0.10:9200,192.168.0.11:9200"),
		ServiceName:  Text("cn-north-4.css-" + name + "." + namedID("service of "+name)),
		UpdateSwitch: "false",
	}
}

func (d demo) connection(cluster string, n int, status, owner string) Connection {
	return Connection{
		ID: connectionID(cluster, n), Status: status, MaxSession: Text("3000"), Specification: "default",
		IP:        fmt.Sprintf("192.168.%d.%d", 1+n/250, 2+n%250),
		CreatedAt: timeText(d.daysAgo(200 - n%190).Add(time.Duration(n) * time.Minute)),
		DomainID:  owner,
	}
}

func connectionID(cluster string, n int) string {
	return namedID(fmt.Sprintf("connection %d of %s", n, cluster))
}

func (d demo) permission(cluster, kind, text string) Permission {
	return Permission{
		ID: namedID("permission " + text + " of " + cluster), Permission: text, Type: kind,
		CreatedAt: timeText(d.daysAgo(210)),
	}
}

func (d demo) daysAgo(n int) time.Time { return d.now.AddDate(0, 0, -n) }

// everyStatus has all statuses, an unknown one, an owner without permission, and optional values of all kinds.
func (d demo) everyStatus() Cluster {
	c := d.cluster("search-prod", "elasticsearch", "7.10.2", 620)
	c.Still = true
	listed, partner, stranger := owner("first"), owner("second"), owner("stranger")
	for i, x := range []struct{ status, owner string }{
		{statusAccepted, listed}, {statusAccepted, partner}, {statusAccepted, stranger}, {statusAccepted, listed},
		{statusRejected, stranger}, {statusPending, partner}, {statusCreating, partner}, {statusFailed, partner},
		{statusDeleting, listed}, {"frozen", partner},
	} {
		c.Connections = append(c.Connections, d.connection(c.Name, i, x.status, x.owner))
	}
	professional := &c.Connections[0]
	professional.MaxSession = Text("1000000")
	professional.Specification = "professional"
	professional.IPv6 = Text("2001:db8:5c77::7a")
	professional.DNSName = Text("vpcep-54b7f739.cn-north-4.example.internal")
	professional.UpdatedAt = timeText(d.daysAgo(2))
	c.Connections[1].MaxSession = "5000" // documented as a string
	c.Connections[1].DNSName = Text("vpcep-e88ad0bc.cn-north-4.example.internal")
	c.Connections[2].UpdatedAt = "null"
	c.Connections[3].MaxSession = Text("unlimited")
	c.Connections[4].UpdatedAt = Text(d.daysAgo(1).Format("2006-01-02T15:04:05")) // no zone
	c.Connections[5].MaxSession = ""
	c.Permissions = []Permission{
		d.permission(c.Name, "domainId", "iam:domain::"+listed),
		d.permission(c.Name, "domainId", "iam:domain::"+partner),
	}
	return c
}

func (d demo) openToAll() Cluster {
	c := d.cluster("orders-search", "opensearch", "2.19.0", 300)
	c.Tags = []Tag{{"team", "orders"}, {"stage", "prod"}}
	c.UpdateSwitch = "true"
	owners := []string{owner("first"), owner("second")}
	for i := range 6 {
		c.Connections = append(c.Connections, d.connection(c.Name, i, statusAccepted, owners[i%2]))
	}
	c.Permissions = []Permission{
		d.permission(c.Name, "domainId", "iam:domain::*"),
		d.permission(c.Name, "domainId", "iam:domain::"+owner("second")),
	}
	return c
}

func (d demo) serviceOff() Cluster {
	c := d.cluster("logs-archive", "elasticsearch", "6.8.23", 1400)
	c.Tags = []Tag{{"team", "platform"}, {"stage", "prod"}}
	c.ServiceOff = true
	return c
}

func (d demo) logstash() Cluster {
	c := d.cluster("ingest-pipeline", "logstash", "7.10.0", 410)
	c.Tags = []Tag{{"team", "platform"}}
	c.ServiceOff = true
	return c
}

func (d demo) beingCreated() Cluster {
	c := d.cluster("catalog-next", "opensearch", "2.19.0", 0)
	c.Status, c.Endpoint, c.ServiceOff = "100", "", true
	c.Tags = nil
	return c
}

// large has several pages and an empty allowlist.
func (d demo) large() Cluster {
	c := d.cluster("metrics-hub", "elasticsearch", "7.10.2", 800)
	c.Tags = []Tag{{"team", "observability"}, {"stage", "prod"}}
	c.Still = true
	for i := range 120 {
		status := statusAccepted
		if i%20 == 19 {
			status = statusRejected
		}
		c.Connections = append(c.Connections, d.connection(c.Name, i, status, owner(fmt.Sprintf("tenant %d", i%40))))
	}
	c.Permissions = []Permission{}
	d.sim.SetFault(Target{Connections, c.ID}, Fault{PageCap: 50})
	return c
}

// truncated has unlisted connections, omits what older regions omit, and has the connection that comes near its limit.
func (d demo) truncated() Cluster {
	c := d.cluster("audit-trail", "elasticsearch", "7.6.2", 1100)
	c.Tags = []Tag{{"team", "security"}, {"stage", "prod"}}
	c.Still = true
	c.UpdateSwitch, c.ServiceName, c.Permissions = "", "", nil
	for i := range 8 {
		c.Connections = append(c.Connections, d.connection(c.Name, i, statusAccepted, owner("auditor")))
	}
	c.Connections[0].DomainID = owner("first")
	c.Unlisted = 25
	return c
}

func (d demo) organization() Cluster {
	c := d.cluster("search-staging", "opensearch", "2.19.0", 90)
	c.Tags = []Tag{{"team", "search"}, {"stage", "staging"}}
	c.ServiceName = Text("ap-southeast-3.css-search-staging." + namedID("service of search-staging"))
	for i := range 4 {
		c.Connections = append(c.Connections, d.connection(c.Name, i, statusAccepted, owner("first")))
	}
	c.Permissions = []Permission{
		d.permission(c.Name, "orgPath", "organizations:orgPath::o-simulated/r-root/ou-search/*"),
	}
	return c
}

// partnerCluster is in another account.
func (d demo) partnerCluster() Cluster {
	c := d.cluster("partner-catalog", "opensearch", "2.19.0", 45)
	c.Still = true
	c.Tags = []Tag{{"team", "catalog"}, {"stage", "prod"}}
	c.ServiceName = Text("cn-south-1.css-partner-catalog." + namedID("service of partner-catalog"))
	for i := range 2 {
		c.Connections = append(c.Connections, d.connection(c.Name, i, statusAccepted, owner("first")))
	}
	c.Permissions = []Permission{d.permission(c.Name, "domainId", "iam:domain::"+owner("first"))}
	return c
}

// flapping fails for the first 20 seconds of every minute.
func (d demo) flapping() Cluster {
	c := d.cluster("orders-staging", "elasticsearch", "7.10.2", 60)
	c.Tags = []Tag{{"team", "orders"}, {"stage", "staging"}}
	c.ServiceName = Text("ap-southeast-3.css-orders-staging." + namedID("service of orders-staging"))
	for i := range 3 {
		c.Connections = append(c.Connections, d.connection(c.Name, i, statusAccepted, owner("first")))
	}
	c.Permissions = []Permission{d.permission(c.Name, "domainId", "iam:domain::"+owner("first"))}
	d.sim.SetFault(Target{Connections, c.ID}, Fault{
		Active: func(now time.Time) bool { return now.Second() < 20 },
		Status: http.StatusServiceUnavailable,
		Body:   `{"message":"The backend service is unavailable.","request_id":"simulated"}`,
	})
	return c
}

func (d demo) denied() Cluster {
	c := d.cluster("sandbox", "elasticsearch", "7.10.2", 30)
	c.Tags = []Tag{{"team", "search"}, {"stage", "sandbox"}}
	c.Still = true
	d.sim.SetFault(Target{Connections, c.ID}, Fault{
		Status: http.StatusForbidden,
		Body:   `{"errCode":"CSS.0015","externalMessage":"You do not have permission to access this cluster."}`,
	})
	return c
}

func owner(name string) string { return hexID("account " + name) }

func hexID(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:16])
}

func namedID(name string) string { return uuid(hexID(name)) }

// uuid expects 32 hex digits.
func uuid(h string) string {
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:]
}
