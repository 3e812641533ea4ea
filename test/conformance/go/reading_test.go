// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/css/csstest"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/test/conformance/go/fleet"
)

func TestUnusualResponsesAreReadAsClassified(t *testing.T) {
	s := fleet.New(simulator.Options{})
	endpoint := s.Serve(t) // for clients that page by start too, because the response does not depend on the page
	clients := newClients(t)
	results := newReadingTable(clients, "Response with connections")
	for i, r := range connectionResponses(t) {
		id := fmt.Sprint("reading-", i)
		s.SetFault(simulator.Target{Endpoint: simulator.Connections, ID: id}, r.fault)
		cell, want := readConnections(t, endpoint, id)
		call := request{Call: "connections", Endpoint: endpoint, Project: fleet.Permanent, Cluster: id}
		results.addRow(t, clients, call, r, cell, func(line []byte) string { return connectionsCell(t, want, line) })
	}
	checkPage(t, "reading", results.String())
}

func TestUnusualClusterListsAreReadAsClassified(t *testing.T) {
	s := fleet.New(simulator.Options{})
	endpoint := s.Serve(t)
	clients := newClients(t)
	results := newReadingTable(clients, "Response with clusters")
	for _, r := range clusterResponses() {
		s.SetFault(simulator.Target{Endpoint: simulator.Clusters}, r.fault)
		cell, want := readClusters(t, endpoint)
		call := request{Call: "clusters", Endpoint: endpoint, Project: fleet.Permanent}
		results.addRow(t, clients, call, r, cell, func(line []byte) string { return clustersCell(t, want, line) })
	}
	checkPage(t, "reading clusters", results.String())
}

type readingTable struct{ table }

func newReadingTable(clients []*client, firstColumn string) *readingTable {
	results := &readingTable{table{head: []string{firstColumn}}}
	for _, c := range clients {
		results.head = append(results.head, c.name)
	}
	results.head = append(results.head, "Exporter", "The exporter is")
	return results
}

// addRow adds the results of the clients, whose cells toCell returns.
func (r *readingTable) addRow(
	t *testing.T, clients []*client, call request, resp response, exporterCell string, toCell func(line []byte) string,
) {
	t.Helper()
	var cells []string
	for _, c := range clients {
		cells = append(cells, toCell(c.callJSON(t, call)))
	}
	r.addCells(t, resp, cells, exporterCell)
}

// addCells adds the results of the SDKs, and checks that the verdict agrees with them.
func (r *readingTable) addCells(t *testing.T, resp response, sdkCells []string, exporterCell string) {
	t.Helper()
	failed, different := 0, 0
	for _, cell := range sdkCells {
		if cell != exporterCell {
			different++
		}
		if cell == "error" {
			failed++
		}
	}
	verdict := "like the SDKs"
	if resp.verdict != alike {
		verdict = resp.verdict + ": " + resp.reason
	}
	r.add(slices.Concat([]string{resp.name}, sdkCells, []string{exporterCell, verdict})...)

	switch exporterFails := exporterCell == "error"; {
	case (resp.verdict == alike) != (different == 0):
		t.Errorf("%s: %d SDKs differ from the exporter's %s, but the verdict is %q: %q",
			resp.name, different, exporterCell, resp.verdict, sdkCells)
	case resp.verdict == tolerant && exporterFails:
		t.Errorf("%s: the exporter fails, but the verdict is tolerant", resp.name)
	case resp.verdict == honest && failed == len(sdkCells):
		t.Errorf("%s: all SDKs fail, but the verdict is honest", resp.name)
	case resp.verdict == careful && (exporterFails || failed > 0):
		t.Errorf("%s: a client or the exporter fails, but the verdict is careful", resp.name)
	case (resp.verdict != alike) != (resp.reason != ""):
		t.Errorf("%s: got verdict %q and reason %q, want a reason exactly if they differ",
			resp.name, resp.verdict, resp.reason)
	}
}

// fields has the values of a response that the exporter uses, by path.
type fields map[string]string

// newCSSClient returns a client of package css.
func newCSSClient(t *testing.T, endpoint string) *css.Client {
	t.Helper()
	key := fleet.ClientKey(fleet.Permanent)
	return csstest.NewClient(t, endpoint, func(o *csstest.Options) {
		o.ProjectID = fleet.Permanent
		o.Credentials = credentials.NewFiles(
			cloud.Credentials{AccessKey: key.Access, SecretKey: key.Secret}, cloud.Credentials{})
	})
}

// readConnections reads a cluster with package css. The fields are nil if it cannot be read or its service is off.
func readConnections(t *testing.T, endpoint, id string) (cell string, found fields) {
	t.Helper()
	client := newCSSClient(t, endpoint)
	list, err := client.Connections(t.Context(), id, nil)
	var cssError *cloud.Error
	switch {
	case errors.As(err, &cssError):
		return newError(cssError.Status, cssError.Code).String(), nil
	case err != nil:
		t.Fatal(err)
	case !list.Enabled:
		return "off", nil
	}
	total := "?"
	if list.Reported.Set {
		total = strconv.Itoa(int(list.Reported.Value))
	}
	return fmt.Sprintf("%d of %s", len(list.Connections), total), listFields(list)
}

func listFields(list *css.ConnectionList) fields {
	found := fields{"connections": strconv.Itoa(len(list.Connections))}
	found.setText("vpcServiceName", list.ServiceName)
	if list.UpdateSwitch.Set {
		found["vpcepUpdateSwitch"] = fmt.Sprint(list.UpdateSwitch.Value)
	}
	for i := range list.Connections {
		c, path := &list.Connections[i], fmt.Sprintf("connections/%d/", i)
		found.setText(path+"id", c.ID)
		found.setText(path+"status", string(c.Status))
		found.setText(path+"specificationName", c.SpecificationName)
		found.setText(path+"domain_id", c.DomainID)
		found.setText(path+"vpcepIp", c.IP)
		found.setText(path+"vpcepIpv6Address", c.IPv6)
		found.setText(path+"vpcepDnsName", c.DNSName)
		if c.MaxSessions.Set {
			found.setNumber(path+"maxSession", &c.MaxSessions.Value)
		}
		if c.CreatedAt.Set {
			found.setNumber(path+"created_at", new(float64(c.CreatedAt.Value.UnixMilli())/1000))
		}
		if c.UpdatedAt.Set {
			found.setNumber(path+"update_at", new(float64(c.UpdatedAt.Value.UnixMilli())/1000))
		}
	}
	if list.Permissions.Set {
		found["permissions"] = strconv.Itoa(len(list.Permissions.Value))
		for i, p := range list.Permissions.Value {
			found.setText(fmt.Sprintf("permissions/%d/permission", i), p.Text)
			found.setText(fmt.Sprintf("permissions/%d/permission_type", i), p.Type)
		}
	}
	return found
}

// readClusters reads the list of clusters with package css. The fields are nil if it cannot be read.
func readClusters(t *testing.T, endpoint string) (cell string, found fields) {
	t.Helper()
	client := newCSSClient(t, endpoint)
	clusters, err := client.Clusters(t.Context())
	cell = strconv.Itoa(len(clusters))
	var cssError *cloud.Error
	switch {
	case errors.As(err, &cssError):
		return newError(cssError.Status, cssError.Code).String(), nil
	case errors.Is(err, css.ErrIncomplete):
		cell += ", incomplete"
	case err != nil:
		t.Fatal(err)
	}
	found = fields{}
	for i, c := range clusters {
		path := fmt.Sprintf("clusters/%d/", i)
		found.setText(path+"id", c.ID)
		found.setText(path+"name", c.Name)
		found.setText(path+"cluster status", c.Status)
		found.setText(path+"type", c.Engine)
		found.setText(path+"version", c.EngineVersion)
		found.setText(path+"enterpriseProjectId", c.EnterpriseProjectID)
		found.setText(path+"vpcId", c.VPCID)
		for key, value := range c.Tags {
			found.setText(path+"tags/"+key, value)
		}
	}
	return cell, found
}

// connectionsCell returns the length of the list that an SDK has read, and the fields that differ from want.
func connectionsCell(t *testing.T, want fields, line []byte) string {
	t.Helper()
	var a struct {
		Error       *apiError        `json:"error"`
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
	total, length := "?", strconv.Itoa(len(a.Connections))
	if a.TotalCount != nil {
		total = fmt.Sprint(a.TotalCount)
	}
	cell := length + " of " + total
	if want == nil || want["connections"] != length { // the fields are not comparable
		return cell
	}
	got := fields{"connections": length}
	got.set("vpcServiceName", a.ServiceName)
	got.set("vpcepUpdateSwitch", a.Switch)
	for i, c := range a.Connections {
		for name, value := range c {
			got.set(fmt.Sprintf("connections/%d/%s", i, name), value)
		}
	}
	if a.Permissions != nil {
		got["permissions"] = strconv.Itoa(len(a.Permissions))
		for i, p := range a.Permissions {
			got.set(fmt.Sprintf("permissions/%d/permission", i), p["permission"])
			got.set(fmt.Sprintf("permissions/%d/permission_type", i), p["permission_type"])
		}
	}
	return strings.Join(append([]string{cell}, got.differences(want)...), ", ")
}

// clustersCell returns the length of the list that an SDK has read, and the fields that differ from want.
func clustersCell(t *testing.T, want fields, line []byte) string {
	t.Helper()
	var a struct {
		Error    *apiError `json:"error"`
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
	cell := strconv.Itoa(len(a.Clusters))
	if want == nil {
		return cell
	}
	got := fields{}
	for i, c := range a.Clusters {
		path := fmt.Sprintf("clusters/%d/", i)
		got.set(path+"id", c.ID)
		got.set(path+"name", c.Name)
		got.set(path+"cluster status", c.Status)
		got.set(path+"type", c.Datastore["type"])
		got.set(path+"version", c.Datastore["version"])
		got.set(path+"enterpriseProjectId", c.EnterpriseProjectID)
		got.set(path+"vpcId", c.VPCID)
		for _, tag := range c.Tags {
			got.setText(path+"tags/"+tag.Key, tag.Value)
		}
	}
	return strings.Join(append([]string{cell}, got.differences(want)...), ", ")
}

func (f fields) setText(path, value string) {
	if value != "" {
		f[path] = value
	}
}

func (f fields) setNumber(path string, value *float64) {
	if value != nil {
		f[path] = fmt.Sprint(*value)
	}
}

// set stores a value of an SDK as the exporter would interpret it.
func (f fields) set(path string, value any) {
	if value == nil {
		return
	}
	text := fmt.Sprint(value)
	switch fieldName(path) {
	case "maxSession":
		f.setNumber(path, parseNumber(text))
	case "created_at", "update_at":
		f.setNumber(path, parseTime(text))
	case "status":
		f.setText(path, parseStatus(text))
	default:
		f.setText(path, text)
	}
}

func fieldName(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// parseStatus returns the exporter's status for a text, or "" for an empty text.
func parseStatus(text string) string {
	for _, status := range css.Statuses() {
		if strings.EqualFold(strings.TrimSpace(text), string(status)) {
			return string(status)
		}
	}
	if text == "" {
		return ""
	}
	return string(css.StatusUnknown)
}

// differences returns each name of a differing field once, with its first value in f.
func (f fields) differences(want fields) []string {
	paths := make(map[string]bool)
	for _, side := range []fields{f, want} {
		for path := range side {
			paths[path] = true
		}
	}
	var differences []string
	seen := make(map[string]bool)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		name := fieldName(path)
		if f[path] == want[path] || seen[name] {
			continue
		}
		seen[name] = true
		value := strings.Trim(strconv.Quote(f[path]), `"`)
		switch {
		case value == "":
			value = "absent"
		case len(value) > 40:
			value = "longer"
		}
		differences = append(differences, "`"+name+"` "+value)
	}
	return differences
}
