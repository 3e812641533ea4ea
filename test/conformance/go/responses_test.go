// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"css_vpcep_exporter/internal/simulator"
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
