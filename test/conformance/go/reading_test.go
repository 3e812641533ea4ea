// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/test/conformance/go/fleet"
)

// How the exporter compares with the SDKs for one response.
const (
	alike    = ""         // all read the same
	tolerant = "tolerant" // it reads what an SDK rejects or misreads
	honest   = "honest"   // it fails or omits a value where an SDK invents one
	careful  = "careful"  // it changes texts that are not valid in a label
)

// reading is a possible response of the API to any request.
type reading struct {
	name  string
	fault simulator.Fault
	is    string
	why   string // reason for a difference
}

func body(text string) simulator.Fault { return simulator.Fault{Status: http.StatusOK, Body: text} }

// field returns a response with a connection that has this field.
func field(name, value string) simulator.Fault {
	return body(fmt.Sprintf(`{"connections":[{"id":"c1",%q:%s}],"total_count":1}`, name, value))
}

// beside returns a response that has this field beside the connections.
func beside(name, value string) simulator.Fault {
	return body(fmt.Sprintf(`{"connections":[{"id":"c1"}],%q:%s}`, name, value))
}

func refused(status int, body string) simulator.Fault {
	return simulator.Fault{Status: status, Body: body}
}

// readings returns the table except for the responses in collector/testdata/golden.
func readings() []reading {
	const (
		nothingSaid  = "nothing was said, so nothing is shown"
		half         = "it may be half of the answer, or another one's"
		noList       = "that is no list"
		noConnection = "that is no connection"
		loses        = "an odd value loses itself, not the list"
		notFalse     = "what cannot be understood is not false"
		replaced     = "what no label can hold is replaced"
		ownForm      = "it knows CSS's own form of an error"
	)
	return []reading{
		{"200, empty", simulator.Fault{Status: http.StatusOK}, honest, nothingSaid},
		{"200, `{}`", body(`{}`), honest, nothingSaid},
		{"200, `[]`", body(`[]`), honest, nothingSaid},
		{"200, `null`", body(`null`), honest, nothingSaid},
		{"200, an HTML page", body(`<html><body>Welcome</body></html>`), honest, nothingSaid},
		{"200, an error of CSS", body(`{"errCode":"CSS.0015","externalMessage":"No."}`), honest, nothingSaid},
		{"200, an error of the gateway", body(`{"error_code":"APIGW.0201","error_msg":"No.","request_id":"r"}`), honest, nothingSaid},
		{"200, compressed without being asked", simulator.Fault{Gzip: true, Body: `{"connections":[],"total_count":0}`}, alike, ""},
		{"204", simulator.Fault{Status: http.StatusNoContent}, honest, nothingSaid},
		{"302 to elsewhere", simulator.Fault{Redirect: "http://127.0.0.1:9/elsewhere"}, honest, "a redirect is no list"},
		{"JSON that ends too early", body(`{"connections":[{"id":"c1"},{"id`), honest, half},
		{"JSON that ends too early, after the connections", body(`{"connections":[{"id":"c1"}],"total_count":1`), honest, half},
		{"something follows the JSON", body(`{"connections":[],"total_count":0}x`), honest, half},
		{"two documents", body(`{"connections":[],"total_count":0}{"connections":[{"id":"c1"}],"total_count":1}`), honest, half},
		{"`connections` null, nothing else", body(`{"connections":null}`), alike, ""},
		{"`connections` an object", body(`{"connections":{},"total_count":0}`), honest, noList},
		{"`connections` a text", body(`{"connections":"none","total_count":0}`), honest, noList},
		{"`connections` holds null", body(`{"connections":[null],"total_count":1}`), honest, noConnection},
		{"`connections` holds a number", body(`{"connections":[7],"total_count":1}`), honest, noConnection},
		{"`connections` twice", body(`{"connections":[{"id":"c1"},{"id":"c2"}],"connections":[{"id":"c3"}],"total_count":1}`), alike, ""},
		{"`CONNECTIONS`", body(`{"CONNECTIONS":[{"id":"c1"}],"total_count":0}`), honest, "names have a case"},
		{"`total_count` a text of digits", beside("total_count", `"1"`), tolerant, loses},
		{"`total_count` another text", beside("total_count", `"many"`), tolerant, loses},
		{"`total_count` an empty text", beside("total_count", `""`), tolerant, loses},
		{"`total_count` 1.0", beside("total_count", `1.0`), tolerant, loses},
		{"`total_count` 1.5", beside("total_count", `1.5`), honest, "no count of anything"},
		{"`total_count` 3,000,000,000", beside("total_count", `3000000000`), tolerant, loses},
		{"`total_count` a list", beside("total_count", `[]`), tolerant, loses},
		{"`vpcepUpdateSwitch` \"false\"", beside("vpcepUpdateSwitch", `"false"`), tolerant, "an older region sends texts; not every text is true"},
		{"`vpcepUpdateSwitch` \"true\"", beside("vpcepUpdateSwitch", `"true"`), tolerant, "an older region sends texts"},
		{"`vpcepUpdateSwitch` an empty text", beside("vpcepUpdateSwitch", `""`), tolerant, notFalse},
		{"`vpcepUpdateSwitch` 0", beside("vpcepUpdateSwitch", `0`), tolerant, notFalse},
		{"`vpcepUpdateSwitch` null", beside("vpcepUpdateSwitch", `null`), alike, ""},
		{"`vpcServiceName` null", beside("vpcServiceName", `null`), alike, ""},
		{"`vpcServiceName` an object", beside("vpcServiceName", `{}`), tolerant, loses},
		{"`permissions` null", beside("permissions", `null`), alike, ""},
		{"`permissions` empty", beside("permissions", `[]`), alike, ""},
		{"`permissions` an object", beside("permissions", `{}`), tolerant, loses},
		{"`permissions` holds a text", beside("permissions", `["*",{"permission":"iam:domain::a"}]`), tolerant, loses},
		{"an unknown field", beside("something_new", `{"total_count":9,"connections":[{"id":"x"}]}`), alike, ""},
		{"`id` a number", body(`{"connections":[{"id":7}],"total_count":1}`), tolerant, loses},
		{"`id` null", body(`{"connections":[{"id":null,"vpcepIp":"1"}],"total_count":1}`), alike, ""},
		{"`status` in capitals", field("status", `"ACCEPTED"`), alike, ""},
		{"`status` a number", field("status", `5`), tolerant, loses},
		{"`status` true", field("status", `true`), tolerant, loses},
		{"`status` null", field("status", `null`), alike, ""},
		{"`maxSession` \"3000\"", field("maxSession", `"3000"`), alike, ""},
		{"`maxSession` a number", field("maxSession", `3000`), tolerant, loses},
		{"`maxSession` empty", field("maxSession", `""`), alike, ""},
		{"`maxSession` null", field("maxSession", `null`), alike, ""},
		{"`maxSession` \"unlimited\"", field("maxSession", `"unlimited"`), alike, ""},
		{"`maxSession` an object", field("maxSession", `{"max":1}`), tolerant, loses},
		{"`created_at` without a zone", field("created_at", `"2024-06-11T09:36:24"`), alike, ""},
		{"`created_at` with fractions", field("created_at", `"2018-01-30T07:42:01.174"`), alike, ""},
		{"`created_at` in another zone", field("created_at", `"2024-06-11T17:36:24+08:00"`), alike, ""},
		{"`created_at` a number", field("created_at", `1718098584000`), tolerant, loses},
		{"`created_at` \"yesterday\"", field("created_at", `"yesterday"`), alike, ""},
		{"`update_at` null", field("update_at", `null`), alike, ""},
		{"`specificationName` a number", field("specificationName", `42`), tolerant, loses},
		{"`specificationName` a list", field("specificationName", `[]`), tolerant, loses},
		{"`domain_id` with bytes that are no UTF-8", field("domain_id", "\"a\xffb\""), alike, ""},
		{"`domain_id` with half a surrogate pair", field("domain_id", `"a\ud800b"`), careful, replaced},
		{"`domain_id` with a NUL", field("domain_id", `"a\u0000b"`), careful, replaced},
		{"`domain_id` of 2,000 bytes", field("domain_id", `"`+strings.Repeat("x", 2000)+`"`), careful, "a label ends at 1,024 bytes"},
		{"400 `errCode` CSS.5182", refused(400, `{"errCode":"CSS.5182","externalMessage":"The VPC endpoint service is not enabled."}`), tolerant, "it knows CSS's own form of an error, and that this one is an answer"},
		{"400 `error_code` CSS.5182", refused(400, `{"error_code":"CSS.5182","error_msg":"The VPC endpoint service is not enabled."}`), tolerant, "this error is an answer"},
		{"400 `errCode` CSS.0051", refused(400, `{"errCode":"CSS.0051","externalMessage":"No permission."}`), tolerant, ownForm},
		{"403 `errCode` CSS.0015", refused(403, `{"errCode":"CSS.0015","externalMessage":"You do not have permission."}`), tolerant, ownForm},
		{"401 `error_code` APIGW.0301", refused(401, `{"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information","request_id":"r"}`), alike, ""},
		{"401 `error_code` APIG.0301", refused(401, `{"error_code":"APIG.0301","error_msg":"Incorrect IAM authentication information","request_id":"r"}`), alike, ""},
		{"401 `message`", refused(401, `{"message":"Unauthorized","request_id":"r"}`), alike, ""},
		{"401 `error.code`", refused(401, `{"error":{"code":401,"message":"The request you have made requires authentication.","title":"Unauthorized"}}`), alike, ""},
		{"404 `error_code` APIGW.0101", refused(404, `{"error_code":"APIGW.0101","error_msg":"The API does not exist","request_id":"r"}`), alike, ""},
		{"409 `errCode`", refused(409, `{"errCode":"CSS.0001","externalMessage":"Conflict"}`), tolerant, ownForm},
		{"412, empty", refused(412, ``), alike, ""},
		{"429 `error_code` APIGW.0308", refused(429, `{"error_code":"APIGW.0308","error_msg":"The throttling threshold has been reached","request_id":"r"}`), tolerant, "the code is there"},
		{"500, an HTML page", refused(500, `<html><body>Internal Server Error</body></html>`), alike, ""},
		{"502, empty", refused(502, ``), alike, ""},
		{"503 `message`", refused(503, `{"message":"The backend service is unavailable.","request_id":"r"}`), alike, ""},
	}
}

// clusterReadings returns the table for cluster lists.
func clusterReadings() []reading {
	const (
		loses       = "an odd value loses itself, not the list"
		nothingSaid = "nothing was said, so nothing is shown"
	)
	list := func(fields string) simulator.Fault {
		return body(`{"clusters":[{"id":"c1"` + fields + `}],"totalSize":1}`)
	}
	return []reading{
		{"what is documented", list(`,"name":"n","status":"200","datastore":{"type":"opensearch","version":"2.19.0"},"enterpriseProjectId":"0",` +
			`"vpcId":"v","tags":[{"key":"k","value":"w"}],"created":"2023-10-12T07:33:11","endpoint":"192.168.0.10:9200","bandwidthSize":0,` +
			`"instances":[{"status":"200","type":"ess","volume":{"type":"HIGH","size":100}}]`), alike, ""},
		{"`totalSize` absent", body(`{"clusters":[{"id":"c1"}]}`), alike, ""},
		{"`totalSize` a text of digits", body(`{"clusters":[{"id":"c1"}],"totalSize":"1"}`), tolerant, loses},
		{"`totalSize` more than are listed", body(`{"clusters":[{"id":"c1"}],"totalSize":2}`), honest, "that the list is incomplete is said"},
		{"`endpoint` null", list(`,"endpoint":null`), alike, ""},
		{"`datastore` absent", list(``), alike, ""},
		{"`datastore` a text", list(`,"datastore":"opensearch"`), tolerant, loses},
		{"`tags` null", list(`,"tags":null`), alike, ""},
		{"`tags` holds a text", list(`,"tags":["k=w",{"key":"k","value":"w"}]`), tolerant, loses},
		{"`status` a number", list(`,"status":200`), tolerant, loses},
		{"`id` a number", body(`{"clusters":[{"id":7}],"totalSize":1}`), tolerant, loses},
		{"`created` a number", list(`,"created":1697095991000`), tolerant, loses},
		{"the size of a volume a text", list(`,"instances":[{"volume":{"type":"HIGH","size":"100"}}]`), tolerant, loses},
		{"`bandwidthSize` a text", list(`,"bandwidthSize":"none"`), tolerant, loses},
		{"an unknown field", list(`,"something_new":{"id":"x"}`), alike, ""},
		{"`clusters` null", body(`{"clusters":null,"totalSize":0}`), alike, ""},
		{"`clusters` an object", body(`{"clusters":{},"totalSize":0}`), honest, "that is no list"},
		{"200, empty", simulator.Fault{Status: http.StatusOK}, honest, nothingSaid},
		{"200, `{}`", body(`{}`), honest, nothingSaid},
		{"200, an error of CSS", body(`{"errCode":"CSS.0001","externalMessage":"No."}`), honest, nothingSaid},
	}
}

// goldens returns the responses of the collector's tests.
func goldens(t *testing.T) []reading {
	t.Helper()
	is := map[string][2]string{
		"count_negative": {honest, "no count of anything"},
		"hostile_text":   {careful, "what no label can hold is replaced, and a label ends at 1,024 bytes"},
		"max_sessions":   {tolerant, "an odd value loses itself, not the list"},
		"repeated_ids":   {honest, "a connection is shown once"},
		"switch_odd":     {tolerant, "what cannot be understood is not true"},
		"switch_text":    {tolerant, "an older region sends texts; not every text is true"},
		"times":          {tolerant, "an odd value loses itself, not the list"},
	}
	files, err := filepath.Glob("../../../collector/testdata/golden/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no responses: %v", err)
	}
	var all []reading
	for _, file := range files {
		content, err := os.ReadFile(file) //nolint:gosec // a file of the repository
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		verdict := is[name]
		delete(is, name)
		all = append(all, reading{"golden/" + name, body(string(content)), verdict[0], verdict[1]})
	}
	if len(is) > 0 {
		t.Errorf("no responses: %v", is)
	}
	return all
}

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
