// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"css_vpcep_exporter/internal/simulator"
)

// How the exporter compares with the SDKs for a response.
const (
	alike    = ""         // all read the same
	tolerant = "tolerant" // it reads what an SDK rejects or misreads
	honest   = "honest"   // it fails or omits a value where an SDK invents one
	careful  = "careful"  // it changes texts that are not valid in a label
)

// Reasons for differences.
const (
	noList         = "the response has no list"
	notAList       = "the value is not a list"
	notAConnection = "the element is not a connection"
	notACount      = "the value is not a count"
	maybeCut       = "the body may be incomplete or belong to another response"
	listKept       = "an unusual value does not invalidate the list"
	notFalse       = "an invalid value does not mean false"
	notTrue        = "an invalid value does not mean true"
	olderRegion    = "older regions send strings"
	olderRegionNot = "older regions send strings, not all of which mean true"
	replaced       = "characters that are not valid in a label are replaced"
	truncated      = "labels are truncated to 1,024 bytes"
	cssErrors      = "it reads the error format of CSS"
	serviceOff     = "this error means that the service is off"
	cloudEyeErrors = "it reads the error format of Cloud Eye"
	tooOld         = "the value is too old to be shown"
)

// response is a possible response of the API to any request.
type response struct {
	name    string
	fault   simulator.Fault
	verdict string
	reason  string // for a verdict other than alike
}

func body(text string) simulator.Fault { return simulator.Fault{Status: http.StatusOK, Body: text} }

// connectionField returns a response with a connection that has this field.
func connectionField(name, value string) simulator.Fault {
	return body(fmt.Sprintf(`{"connections":[{"id":"c1",%q:%s}],"total_count":1}`, name, value))
}

// listField returns a response that has this field beside the connections.
func listField(name, value string) simulator.Fault {
	return body(fmt.Sprintf(`{"connections":[{"id":"c1"}],%q:%s}`, name, value))
}

func failure(status int, body string) simulator.Fault {
	return simulator.Fault{Status: status, Body: body}
}

// cssError returns an error in the format of CSS, gatewayError one in that of the API gateway.
func cssError(code, message string) string {
	return fmt.Sprintf(`{"errCode":%q,"externalMessage":%q}`, code, message)
}

func gatewayError(code, message string) string {
	return fmt.Sprintf(`{"error_code":%q,"error_msg":%q,"request_id":"r"}`, code, message)
}

// connectionResponses returns the rows of the table for connections.
func connectionResponses(t *testing.T) []response {
	t.Helper()
	return slices.Concat(
		goldenResponses(t), bodyResponses(), listFieldResponses(), connectionFieldResponses(), errorResponses())
}

func bodyResponses() []response {
	return []response{
		{"200, empty", simulator.Fault{Status: http.StatusOK}, honest, noList},
		{"200, `{}`", body(`{}`), honest, noList},
		{"200, `[]`", body(`[]`), honest, noList},
		{"200, `null`", body(`null`), honest, noList},
		{"200, an HTML page", body(`<html><body>Welcome</body></html>`), honest, noList},
		{"200, an error of CSS", body(cssError("CSS.0015", "No.")), honest, noList},
		{"200, an error of the gateway", body(gatewayError("APIGW.0201", "No.")), honest, noList},
		{"200, compressed although not requested",
			simulator.Fault{Gzip: true, Body: `{"connections":[],"total_count":0}`},
			alike, ""},
		{"204", simulator.Fault{Status: http.StatusNoContent}, honest, noList},
		{"302 to another address", simulator.Fault{Redirect: "http://127.0.0.1:9/elsewhere"}, honest, noList},
		{"JSON truncated in the connections", body(`{"connections":[{"id":"c1"},{"id`), honest, maybeCut},
		{"JSON truncated after the connections",
			body(`{"connections":[{"id":"c1"}],"total_count":1`),
			honest, maybeCut},
		{"other data after the JSON", body(`{"connections":[],"total_count":0}x`), honest, maybeCut},
		{"two documents",
			body(`{"connections":[],"total_count":0}{"connections":[{"id":"c1"}],"total_count":1}`),
			honest, maybeCut},
	}
}

func listFieldResponses() []response {
	return []response{
		{"`connections` null, nothing else", body(`{"connections":null}`), alike, ""},
		{"`connections` an object", body(`{"connections":{},"total_count":0}`), honest, notAList},
		{"`connections` a string", body(`{"connections":"none","total_count":0}`), honest, notAList},
		{"`connections` contains null", body(`{"connections":[null],"total_count":1}`), honest, notAConnection},
		{"`connections` contains a number", body(`{"connections":[7],"total_count":1}`), honest, notAConnection},
		{"`connections` twice",
			body(`{"connections":[{"id":"c1"},{"id":"c2"}],"connections":[{"id":"c3"}],"total_count":1}`),
			alike, ""},
		{"`CONNECTIONS`",
			body(`{"CONNECTIONS":[{"id":"c1"}],"total_count":0}`),
			honest, "field names are case-sensitive"},
		{"`total_count` a string of digits", listField("total_count", `"1"`), tolerant, listKept},
		{"`total_count` another string", listField("total_count", `"many"`), tolerant, listKept},
		{"`total_count` an empty string", listField("total_count", `""`), tolerant, listKept},
		{"`total_count` 1.0", listField("total_count", `1.0`), tolerant, listKept},
		{"`total_count` 1.5", listField("total_count", `1.5`), honest, notACount},
		{"`total_count` 3,000,000,000", listField("total_count", `3000000000`), tolerant, listKept},
		{"`total_count` a list", listField("total_count", `[]`), tolerant, listKept},
		{"`vpcepUpdateSwitch` \"false\"", listField("vpcepUpdateSwitch", `"false"`), tolerant, olderRegionNot},
		{"`vpcepUpdateSwitch` \"true\"", listField("vpcepUpdateSwitch", `"true"`), tolerant, olderRegion},
		{"`vpcepUpdateSwitch` an empty string", listField("vpcepUpdateSwitch", `""`), tolerant, notFalse},
		{"`vpcepUpdateSwitch` 0", listField("vpcepUpdateSwitch", `0`), tolerant, notFalse},
		{"`vpcepUpdateSwitch` null", listField("vpcepUpdateSwitch", `null`), alike, ""},
		{"`vpcServiceName` null", listField("vpcServiceName", `null`), alike, ""},
		{"`vpcServiceName` an object", listField("vpcServiceName", `{}`), tolerant, listKept},
		{"`permissions` null", listField("permissions", `null`), alike, ""},
		{"`permissions` empty", listField("permissions", `[]`), alike, ""},
		{"`permissions` an object", listField("permissions", `{}`), tolerant, listKept},
		{"`permissions` contains a string",
			listField("permissions", `["*",{"permission":"iam:domain::a"}]`),
			tolerant, listKept},
		{"an unknown field", listField("something_new", `{"total_count":9,"connections":[{"id":"x"}]}`), alike, ""},
	}
}

func connectionFieldResponses() []response {
	return []response{
		{"`id` a number", body(`{"connections":[{"id":7}],"total_count":1}`), tolerant, listKept},
		{"`id` null", body(`{"connections":[{"id":null,"vpcepIp":"1"}],"total_count":1}`), alike, ""},
		{"`status` in capitals", connectionField("status", `"ACCEPTED"`), alike, ""},
		{"`status` a number", connectionField("status", `5`), tolerant, listKept},
		{"`status` true", connectionField("status", `true`), tolerant, listKept},
		{"`status` null", connectionField("status", `null`), alike, ""},
		{"`maxSession` \"3000\"", connectionField("maxSession", `"3000"`), alike, ""},
		{"`maxSession` a number", connectionField("maxSession", `3000`), tolerant, listKept},
		{"`maxSession` empty", connectionField("maxSession", `""`), alike, ""},
		{"`maxSession` null", connectionField("maxSession", `null`), alike, ""},
		{"`maxSession` \"unlimited\"", connectionField("maxSession", `"unlimited"`), alike, ""},
		{"`maxSession` an object", connectionField("maxSession", `{"max":1}`), tolerant, listKept},
		{"`created_at` without a zone", connectionField("created_at", `"2024-06-11T09:36:24"`), alike, ""},
		{"`created_at` with fractions", connectionField("created_at", `"2018-01-30T07:42:01.174"`), alike, ""},
		{"`created_at` in another zone", connectionField("created_at", `"2024-06-11T17:36:24+08:00"`), alike, ""},
		{"`created_at` a number", connectionField("created_at", `1718098584000`), tolerant, listKept},
		{"`created_at` \"yesterday\"", connectionField("created_at", `"yesterday"`), alike, ""},
		{"`update_at` null", connectionField("update_at", `null`), alike, ""},
		{"`specificationName` a number", connectionField("specificationName", `42`), tolerant, listKept},
		{"`specificationName` a list", connectionField("specificationName", `[]`), tolerant, listKept},
		{"`domain_id` with bytes that are not UTF-8", connectionField("domain_id", "\"a\xffb\""), alike, ""},
		{"`domain_id` with half a surrogate pair", connectionField("domain_id", `"a\ud800b"`), careful, replaced},
		{"`domain_id` with a NUL", connectionField("domain_id", `"a\u0000b"`), careful, replaced},
		{"`domain_id` of 2,000 bytes",
			connectionField("domain_id", `"`+strings.Repeat("x", 2000)+`"`),
			careful, truncated},
	}
}

func errorResponses() []response {
	return []response{
		{"400 `errCode` CSS.5182",
			failure(400, cssError("CSS.5182", "The VPC endpoint service is not enabled.")),
			tolerant, cssErrors + "; " + serviceOff},
		{"400 `error_code` CSS.5182",
			failure(400, gatewayError("CSS.5182", "The VPC endpoint service is not enabled.")),
			tolerant, serviceOff},
		{"400 `errCode` CSS.0051", failure(400, cssError("CSS.0051", "No permission.")), tolerant, cssErrors},
		{"403 `errCode` CSS.0015",
			failure(403, cssError("CSS.0015", "You do not have permission.")),
			tolerant, cssErrors},
		{"401 `error_code` APIGW.0301",
			failure(401, gatewayError("APIGW.0301", "Incorrect IAM authentication information")),
			alike, ""},
		{"401 `error_code` APIG.0301",
			failure(401, gatewayError("APIG.0301", "Incorrect IAM authentication information")),
			alike, ""},
		{"401 `message`", failure(401, `{"message":"Unauthorized","request_id":"r"}`), alike, ""},
		{"401 `error.code`",
			failure(401, `{"error":{"code":401,"message":"The request you have made requires authentication.",`+
				`"title":"Unauthorized"}}`),
			alike, ""},
		{"404 `error_code` APIGW.0101", failure(404, gatewayError("APIGW.0101", "The API does not exist")), alike, ""},
		{"409 `errCode`", failure(409, cssError("CSS.0001", "Conflict")), tolerant, cssErrors},
		{"412, empty", failure(412, ``), alike, ""},
		{"429 `error_code` APIGW.0308",
			failure(429, gatewayError("APIGW.0308", "The throttling threshold has been reached")),
			tolerant, "the response has the code"},
		{"500, an HTML page", failure(500, `<html><body>Internal Server Error</body></html>`), alike, ""},
		{"502, empty", failure(502, ``), alike, ""},
		{"503 `message`",
			failure(503, `{"message":"The backend service is unavailable.","request_id":"r"}`),
			alike, ""},
	}
}

// clusterResponses returns the rows of the table for cluster lists.
func clusterResponses() []response {
	clusterFields := func(fields string) simulator.Fault {
		return body(`{"clusters":[{"id":"c1"` + fields + `}],"totalSize":1}`)
	}
	const documentedFields = `,"name":"n","status":"200","datastore":{"type":"opensearch","version":"2.19.0"},` +
		`"enterpriseProjectId":"0","vpcId":"v","tags":[{"key":"k","value":"w"}],"created":"2023-10-12T07:33:11",` +
		`"endpoint":"192.168.0.10:9200","bandwidthSize":0,` +
		`"instances":[{"status":"200","type":"ess","volume":{"type":"HIGH","size":100}}]`
	return []response{
		{"all documented fields", clusterFields(documentedFields), alike, ""},
		{"`totalSize` absent", body(`{"clusters":[{"id":"c1"}]}`), alike, ""},
		{"`totalSize` a string of digits", body(`{"clusters":[{"id":"c1"}],"totalSize":"1"}`), tolerant, listKept},
		{"`totalSize` larger than the list",
			body(`{"clusters":[{"id":"c1"}],"totalSize":2}`),
			honest, "the list is reported as incomplete"},
		{"`endpoint` null", clusterFields(`,"endpoint":null`), alike, ""},
		{"`datastore` absent", clusterFields(``), alike, ""},
		{"`datastore` a string", clusterFields(`,"datastore":"opensearch"`), tolerant, listKept},
		{"`tags` null", clusterFields(`,"tags":null`), alike, ""},
		{"`tags` contains a string", clusterFields(`,"tags":["k=w",{"key":"k","value":"w"}]`), tolerant, listKept},
		{"`status` a number", clusterFields(`,"status":200`), tolerant, listKept},
		{"`id` a number", body(`{"clusters":[{"id":7}],"totalSize":1}`), tolerant, listKept},
		{"`created` a number", clusterFields(`,"created":1697095991000`), tolerant, listKept},
		{"the size of a volume is a string",
			clusterFields(`,"instances":[{"volume":{"type":"HIGH","size":"100"}}]`),
			tolerant, listKept},
		{"`bandwidthSize` a string", clusterFields(`,"bandwidthSize":"none"`), tolerant, listKept},
		{"an unknown field", clusterFields(`,"something_new":{"id":"x"}`), alike, ""},
		{"`clusters` null", body(`{"clusters":null,"totalSize":0}`), alike, ""},
		{"`clusters` an object", body(`{"clusters":{},"totalSize":0}`), honest, notAList},
		{"200, empty", simulator.Fault{Status: http.StatusOK}, honest, noList},
		{"200, `{}`", body(`{}`), honest, noList},
		{"200, an error of CSS", body(cssError("CSS.0001", "No.")), honest, noList},
	}
}

// goldenResponses returns the responses of the collector's tests.
func goldenResponses(t *testing.T) []response {
	t.Helper()
	type verdict struct{ verdict, reason string }
	verdicts := map[string]verdict{
		"count_negative": {honest, notACount},
		"hostile_text":   {careful, replaced + "; " + truncated},
		"max_sessions":   {tolerant, listKept},
		"repeated_ids":   {honest, "a connection is shown once"},
		"switch_odd":     {tolerant, notTrue},
		"switch_text":    {tolerant, olderRegionNot},
		"times":          {tolerant, listKept},
	}
	files, err := filepath.Glob("../../../collector/testdata/golden/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden responses: %v", err)
	}
	var responses []response
	for _, file := range files {
		content, err := os.ReadFile(file) //nolint:gosec // a file of the repository
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		v := verdicts[name]
		delete(verdicts, name)
		responses = append(responses, response{"golden/" + name, body(string(content)), v.verdict, v.reason})
	}
	if len(verdicts) > 0 {
		t.Errorf("verdicts without a golden response: %v", verdicts)
	}
	return responses
}
