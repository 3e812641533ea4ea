// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/test/conformance/go/fleet"
)

// TestReading compares how all clients read the same responses.
func TestReading(t *testing.T) {
	s := fleet.New(simulator.Options{})
	endpoint := s.Serve(t) // for clients that page by start too: the response is the same
	clients := newClients(t)
	result := newReadingTable(clients, "An answer with connections")
	for i, r := range append(goldens(t), readings()...) {
		id := fmt.Sprint("reading-", i)
		s.SetFault(simulator.Target{Endpoint: simulator.Connections, ID: id}, r.fault)
		ours, oursCell := readByUs(t, endpoint, id)
		ask := request{Call: "connections", Endpoint: endpoint, Project: fleet.Permanent, Cluster: id}
		result.judge(t, clients, ask, r, oursCell, func(line []byte) string { return cellOf(t, ours, line) })
	}
	checkPage(t, "reading", result.String())
}

// TestReadingClusters compares how all clients read the same cluster lists.
func TestReadingClusters(t *testing.T) {
	s := fleet.New(simulator.Options{})
	endpoint := s.Serve(t)
	clients := newClients(t)
	result := newReadingTable(clients, "An answer with clusters")
	for _, r := range clusterReadings() {
		s.SetFault(simulator.Target{Endpoint: simulator.Clusters}, r.fault)
		ours, oursCell := readClustersByUs(t, endpoint)
		ask := request{Call: "clusters", Endpoint: endpoint, Project: fleet.Permanent}
		result.judge(t, clients, ask, r, oursCell, func(line []byte) string { return clusterCellOf(t, ours, line) })
	}
	checkPage(t, "reading clusters", result.String())
}

type readingTable struct{ table }

func newReadingTable(clients []*client, what string) *readingTable {
	result := &readingTable{table{head: []string{what}}}
	for _, c := range clients {
		result.head = append(result.head, c.name)
	}
	result.head = append(result.head, "Exporter", "The exporter is")
	return result
}

// judge adds a row and checks, as far as possible, the classification of the exporter against the cells.
func (x *readingTable) judge(t *testing.T, clients []*client, ask request, r reading, ours string, cellOf func(line []byte) string) {
	t.Helper()
	cells, failed, differ := []string{r.name}, 0, 0
	for _, c := range clients {
		cell := cellOf(c.line(t, fleet.Given(ask.Project), ask))
		cells = append(cells, cell)
		if cell != ours {
			differ++
		}
		if cell == "error" {
			failed++
		}
	}
	verdict := "as the others"
	if r.is != alike {
		verdict = r.is + ": " + r.why
	}
	x.add(append(cells, ours, verdict)...)

	switch weFail := ours == "error"; {
	case (r.is == alike) != (differ == 0):
		t.Errorf("%s: %d clients differ, but the exporter is classified as %q: %q", r.name, differ, r.is, cells)
	case r.is == tolerant && weFail:
		t.Errorf("%s: the exporter fails, but is classified as tolerant", r.name)
	case r.is == honest && failed == len(clients):
		t.Errorf("%s: all SDKs fail, but the exporter is classified as honest", r.name)
	case r.is == careful && (weFail || failed > 0):
		t.Errorf("%s: a client fails, but the exporter is classified as careful", r.name)
	case (r.is != alike) != (r.why != ""):
		t.Errorf("%s: a difference needs a reason, and only a difference", r.name)
	}
}

// leaves has the values of a response that the exporter uses, by location.
type leaves map[string]string

// ours returns a new client of package css.
func ours(endpoint string) *css.Client {
	key := fleet.Given(fleet.Permanent)
	return css.NewClient(css.Options{
		Region: "cn-north-4", ProjectID: fleet.Permanent, Endpoint: endpoint, UserAgent: "test", Keys: css.NewKeys(),
		Credentials: css.NewFiles(css.Credentials{AccessKey: key.Access, SecretKey: key.Secret}, css.Credentials{}),
		Transport:   css.NewTransport(nil, nil), Retry: css.Retry{Tries: 1},
	})
}

// readByUs reads a response with package css.
func readByUs(t *testing.T, endpoint, id string) (leaves, string) {
	t.Helper()
	client := ours(endpoint)
	defer client.Close()
	list, err := client.Connections(t.Context(), id, nil)
	var refused *css.Error
	switch {
	case errors.As(err, &refused):
		return nil, refusal{&refused.Status, &refused.Code}.String()
	case err != nil:
		t.Fatal(err)
	case !list.Enabled:
		return nil, "off"
	}
	found := leaves{}
	total := (*int)(nil)
	if list.Reported.Set {
		total = new(int(list.Reported.Value))
	}
	if list.UpdateSwitch.Set {
		found["vpcepUpdateSwitch"] = fmt.Sprint(list.UpdateSwitch.Value)
	}
	found.text("vpcServiceName", list.ServiceName)
	found["connections"] = fmt.Sprint(len(list.Connections))
	for i := range list.Connections {
		c, at := &list.Connections[i], fmt.Sprintf("connections/%d/", i)
		found.text(at+"id", c.ID)
		found.text(at+"status", string(c.Status))
		found.text(at+"specificationName", c.SpecificationName)
		found.text(at+"domain_id", c.DomainID)
		found.text(at+"vpcepIp", c.IP)
		found.text(at+"vpcepIpv6Address", c.IPv6)
		found.text(at+"vpcepDnsName", c.DNSName)
		if c.MaxSessions.Set {
			found.number(at+"maxSession", &c.MaxSessions.Value)
		}
		if c.CreatedAt.Set {
			found.number(at+"created_at", new(float64(c.CreatedAt.Value.UnixMilli())/1000))
		}
		if c.UpdatedAt.Set {
			found.number(at+"update_at", new(float64(c.UpdatedAt.Value.UnixMilli())/1000))
		}
	}
	if list.Permissions.Set {
		found["permissions"] = fmt.Sprint(len(list.Permissions.Value))
		for i, p := range list.Permissions.Value {
			found.text(fmt.Sprintf("permissions/%d/permission", i), p.Text)
			found.text(fmt.Sprintf("permissions/%d/permission_type", i), p.Type)
		}
	}
	return found, fmt.Sprintf("%d of %s", len(list.Connections), count(total))
}

// readClustersByUs reads a cluster list with package css.
func readClustersByUs(t *testing.T, endpoint string) (leaves, string) {
	t.Helper()
	client := ours(endpoint)
	defer client.Close()
	clusters, err := client.Clusters(t.Context())
	var refused *css.Error
	cell := fmt.Sprint(len(clusters))
	switch {
	case errors.As(err, &refused):
		return nil, refusal{&refused.Status, &refused.Code}.String()
	case errors.Is(err, css.ErrIncomplete):
		cell += ", incomplete"
	case err != nil:
		t.Fatal(err)
	}
	found := leaves{}
	for i, c := range clusters {
		at := fmt.Sprintf("clusters/%d/", i)
		found.text(at+"id", c.ID)
		found.text(at+"name", c.Name)
		found.text(at+"cluster status", c.Status)
		found.text(at+"type", c.Engine)
		found.text(at+"version", c.EngineVersion)
		found.text(at+"enterpriseProjectId", c.EnterpriseProjectID)
		found.text(at+"vpcId", c.VPCID)
		for key, value := range c.Tags {
			found.text(at+"tags/"+key, value)
		}
	}
	return found, cell
}

// clusterCellOf is cellOf for cluster lists.
func clusterCellOf(t *testing.T, ours leaves, line []byte) string {
	t.Helper()
	var a struct {
		Error    *refusal `json:"error"`
		Clusters []struct {
			ID, Name, Status, EnterpriseProjectID, VPCID any
			Datastore                                    map[string]any
			Tags                                         []struct{ Key, Value string }
		} `json:"clusters"`
	}
	if err := json.Unmarshal(line, &a); err != nil {
		t.Fatalf("%s: %.200s", err, line)
	}
	if a.Error != nil {
		return a.Error.String()
	}
	cell := fmt.Sprint(len(a.Clusters))
	if ours == nil {
		return cell
	}
	found := leaves{}
	for i, c := range a.Clusters {
		at := fmt.Sprintf("clusters/%d/", i)
		found.value(at+"id", c.ID)
		found.value(at+"name", c.Name)
		found.value(at+"cluster status", c.Status)
		found.value(at+"type", c.Datastore["type"])
		found.value(at+"version", c.Datastore["version"])
		found.value(at+"enterpriseProjectId", c.EnterpriseProjectID)
		found.value(at+"vpcId", c.VPCID)
		for _, tag := range c.Tags {
			found.text(at+"tags/"+tag.Key, tag.Value)
		}
	}
	return strings.Join(append([]string{cell}, found.unlike(ours)...), ", ")
}

// text and number store a value unless it is missing.
func (l leaves) text(at, value string) {
	if value != "" {
		l[at] = value
	}
}

func (l leaves) number(at string, value *float64) {
	if value != nil {
		l[at] = fmt.Sprint(*value)
	}
}

// cellOf compares an SDK with package css: the length of the list and the differing fields.
func cellOf(t *testing.T, ours leaves, line []byte) string {
	t.Helper()
	var a struct {
		Error       *refusal         `json:"error"`
		Connections []map[string]any `json:"connections"`
		Permissions []map[string]any `json:"permissions"`
		TotalCount  any              `json:"total_count"`
		ServiceName any              `json:"vpcServiceName"`
		Switch      any              `json:"vpcepUpdateSwitch"`
	}
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	if err := decoder.Decode(&a); err != nil {
		t.Fatalf("%s: %.200s", err, line)
	}
	if a.Error != nil {
		return a.Error.String()
	}
	total := "?"
	if a.TotalCount != nil {
		total = fmt.Sprint(a.TotalCount)
	}
	found := leaves{}
	found.value("vpcServiceName", a.ServiceName)
	found.value("vpcepUpdateSwitch", a.Switch)
	for i, c := range a.Connections {
		for name, value := range c {
			found.value(fmt.Sprintf("connections/%d/%s", i, name), value)
		}
	}
	if a.Permissions != nil {
		found["permissions"] = fmt.Sprint(len(a.Permissions))
		for i, p := range a.Permissions {
			found.value(fmt.Sprintf("permissions/%d/permission", i), p["permission"])
			found.value(fmt.Sprintf("permissions/%d/permission_type", i), p["permission_type"])
		}
	}
	cell := fmt.Sprintf("%d of %s", len(a.Connections), total)
	if ours == nil || ours["connections"] != fmt.Sprint(len(a.Connections)) { // no comparison possible
		return cell
	}
	found["connections"] = ours["connections"]
	return strings.Join(append([]string{cell}, found.unlike(ours)...), ", ")
}

// value stores a value of an SDK as the exporter would interpret it.
func (l leaves) value(at string, value any) {
	if value == nil {
		return
	}
	said := fmt.Sprint(value)
	switch name := at[strings.LastIndexByte(at, '/')+1:]; name {
	case "maxSession":
		l.number(at, numberIn(&said))
	case "created_at", "update_at":
		l.number(at, moment(&said))
	case "status":
		for _, status := range css.Statuses() {
			if strings.EqualFold(strings.TrimSpace(said), string(status)) {
				said = string(status)
			}
		}
		if said != "" && !slices.Contains(css.Statuses(), css.Status(said)) {
			said = string(css.StatusUnknown)
		}
		l.text(at, said)
	default:
		l.text(at, said)
	}
}

// unlike returns the names of the differing fields, each once with its first value.
func (l leaves) unlike(ours leaves) (unlike []string) {
	seen := make(map[string]bool)
	places := make(map[string]bool)
	for _, side := range []leaves{l, ours} {
		for at := range side {
			places[at] = true
		}
	}
	for _, at := range sorted(places) {
		name := at[strings.LastIndexByte(at, '/')+1:]
		if l[at] == ours[at] || seen[name] {
			continue
		}
		seen[name] = true
		value := strings.Trim(strconv.Quote(l[at]), `"`)
		switch {
		case value == "":
			value = "absent"
		case len(value) > 40:
			value = "longer"
		}
		unlike = append(unlike, "`"+name+"` "+value)
	}
	return unlike
}

func sorted(set map[string]bool) []string {
	var all []string
	for key := range set {
		all = append(all, key)
	}
	slices.Sort(all)
	return all
}
