// SPDX-License-Identifier: Apache-2.0

package css_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"
	"css_vpcep_exporter/internal/css/csstest"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestDocumentedAnswer reads the example of the documentation over loopback, with one request.
func TestDocumentedAnswer(t *testing.T) {
	c := simtest.New(t, simulator.Options{})
	c.FailReads("", simulator.Fault{Body: css.SeedBody})
	var exchanges []cloud.Exchange
	client := csstest.NewClient(t, c.URL, func(o *csstest.Options) {
		o.Observe = func(e cloud.Exchange) { exchanges = append(exchanges, e) }
	})
	list, err := client.Connections(t.Context(), clusterID, nil)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, list, css.MustParse(t, css.SeedBody))
	if requests := c.Requests(); len(requests) != 1 || requests[0].Query != "limit=1000" {
		t.Errorf("got the requests %+v, want one with limit=1000", requests)
	}
	if len(exchanges) != 1 || exchanges[0].Duration <= 0 || exchanges[0].Code() != "200" ||
		exchanges[0].Region != "cn-north-4" || exchanges[0].Operation != "connections" {
		t.Errorf("got the exchanges %+v", exchanges)
	}
}

const throttledBody = `{"error_code":"APIGW.0308","error_msg":"The throttling threshold has been reached","request_id":"r-1"}`

// errorTest is an answer and the error that it makes.
type errorTest struct {
	name      string
	status    int
	requestID string // header
	body      string
	want      cloud.Error // the message "*" is any short one that does not quote the body
	hinted    bool        // has a hint of its own
	printed   string      // "" is not checked
}

func checkErrors(t *testing.T, tests []errorTest) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			simulated, client := answering(t, func(w http.ResponseWriter, r *http.Request, n int) {
				if test.requestID != "" {
					w.Header().Set("X-Request-Id", test.requestID)
				}
				answer(test.status, test.body)(w, r, n)
			})
			list, err := client.Connections(t.Context(), "c", nil)
			if list != nil {
				t.Errorf("got the list %+v beside an error", list)
			}
			e := failure(t, err)
			test.want.Operation, test.want.Sent = "connections", true
			if test.want.Reason != cloud.ReasonDecode {
				test.want.Status = test.status
			}
			if test.want.Message == "*" {
				if e.Message == "" || len(e.Message) > 100 || (len(test.body) > 6 && strings.Contains(e.Message, test.body[:6])) {
					t.Errorf("got the message %q", e.Message)
				}
				test.want.Message = e.Message
			}
			if diff := cmp.Diff(test.want, *e, cmpopts.IgnoreUnexported(cloud.Error{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if test.printed != "" && err.Error() != test.printed {
				t.Errorf("got %q, want %q", err, test.printed)
			}
			if hint := e.Hint(); test.hinted && hint == "" || strings.HasSuffix(hint, ".") {
				t.Errorf("got the hint %q", hint)
			}
			if !slices.Contains(cloud.Reasons(), e.Reason) || cloud.ReasonOf(fmt.Errorf("x: %w", err)) != e.Reason {
				t.Errorf("got the reason %q", e.Reason)
			}
			if n := simulated.Reads(""); n != 1 {
				t.Errorf("got %d requests, want 1", n)
			}
		})
	}
}

func TestErrorsOfCSS(t *testing.T) {
	checkErrors(t, []errorTest{
		{"CSS, cluster missing", 403, "", `{"errCode":"CSS.0015","externalMessage":"No permission."}`,
			cloud.Error{Reason: cloud.ReasonDenied, Code: "CSS.0015", Message: "No permission."}, true,
			"connections: HTTP 403 CSS.0015: No permission."},
		{"CSS, denied as 400", 400, "", `{"errCode":"CSS.0051","externalMessage":"denied"}`,
			cloud.Error{Reason: cloud.ReasonDenied, Code: "CSS.0051", Message: "denied"}, true, "connections: HTTP 400 CSS.0051: denied"},
		{"CSS, denied as 400 too", 400, "", `{"errCode":"CSS.5313","externalMessage":"denied"}`,
			cloud.Error{Reason: cloud.ReasonDenied, Code: "CSS.5313", Message: "denied"}, true, "connections: HTTP 400 CSS.5313: denied"},
		{"CSS, invalid", 400, "h-1", `{"errCode":"CSS.0001","externalMessage":"Incorrect parameters."}`,
			cloud.Error{Reason: cloud.ReasonInvalid, Code: "CSS.0001", RequestID: "h-1", Message: "Incorrect parameters."}, false,
			"connections: HTTP 400 CSS.0001: Incorrect parameters."},
		{"token incorrect as 400", 400, "", `{"errCode":"CSS.0045","externalMessage":"token incorrect"}`,
			cloud.Error{Reason: cloud.ReasonAuth, Code: "CSS.0045", Message: "the credentials were rejected"}, true,
			"connections: HTTP 400 CSS.0045: the credentials were rejected"},
		{"try later as 202", 202, "", `{"errCode":"CSS.0011","externalMessage":"try later"}`,
			cloud.Error{Reason: cloud.ReasonServer, Code: "CSS.0011", Message: "try later"}, true, "connections: HTTP 202 CSS.0011: try later"},
		{"denial with 404", 404, "", `{"errCode":"CSS.0051"}`, cloud.Error{Reason: cloud.ReasonDenied, Code: "CSS.0051"}, true,
			"connections: HTTP 404 CSS.0051"},
	})
}

func TestErrorsOfTheGatewayAndIAM(t *testing.T) {
	checkErrors(t, []errorTest{
		{"gateway, 401", 401, "", `{"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information: x","request_id":"r-1"}`,
			cloud.Error{Reason: cloud.ReasonAuth, Code: "APIGW.0301", RequestID: "r-1", Message: "the credentials were rejected"}, true,
			"connections: HTTP 401 APIGW.0301: the credentials were rejected"},
		{"gateway, token expired", 401, "h-1", `{"error_code":"APIGW.0307","error_msg":"x","request_id":"r-1"}`,
			cloud.Error{Reason: cloud.ReasonAuth, Code: "APIGW.0307", RequestID: "h-1", Message: "the credentials were rejected"}, true,
			"connections: HTTP 401 APIGW.0307: the credentials were rejected"},
		{"gateway, 403", 403, "", `{"error_code":"APIGW.0302","error_msg":"Not in the whitelist","request_id":"r-1"}`,
			cloud.Error{Reason: cloud.ReasonDenied, Code: "APIGW.0302", RequestID: "r-1", Message: "Not in the whitelist"}, true,
			"connections: HTTP 403 APIGW.0302: Not in the whitelist"},
		{"gateway, 429", 429, "", throttledBody,
			cloud.Error{Reason: cloud.ReasonThrottled, Code: "APIGW.0308", RequestID: "r-1", Message: "The throttling threshold has been reached"},
			true, "connections: HTTP 429 APIGW.0308: The throttling threshold has been reached"},
		{"echoed request", 403, "", `{"error_msg":"verify failed, CanonicalRequest:GET|/v1.0/p/"}`,
			cloud.Error{Reason: cloud.ReasonDenied, Message: "verify failed"}, true, "connections: HTTP 403: verify failed"},
		{"old gateway", 404, "", `{"message":"API not found","request_id":"r-1"}`,
			cloud.Error{Reason: cloud.ReasonNotFound, RequestID: "r-1", Message: "API not found"}, true, "connections: HTTP 404: API not found"},
		{"IAM", 401, "", `{"error":{"code":401,"message":"The request you have made requires authentication.","title":"Unauthorized"}}`,
			cloud.Error{Reason: cloud.ReasonAuth, Code: "401", Message: "the credentials were rejected"}, true,
			"connections: HTTP 401 401: the credentials were rejected"},
		{"IAM, 403", 403, "", `{"error":{"code":403,"message":"You are not authorized.","title":"Forbidden"}}`,
			cloud.Error{Reason: cloud.ReasonDenied, Code: "403", Message: "You are not authorized."}, true,
			"connections: HTTP 403 403: You are not authorized."},
	})
}

func TestErrorsByStatus(t *testing.T) {
	checkErrors(t, []errorTest{
		{"HTML, 500", 500, "h-1", "<html><body><h1>500</h1></body></html>", cloud.Error{Reason: cloud.ReasonServer, RequestID: "h-1"}, false,
			"connections: HTTP 500"},
		{"HTML, 502", 502, "", "<html>", cloud.Error{Reason: cloud.ReasonServer}, false, "connections: HTTP 502"},
		{"empty, 503", 503, "", "", cloud.Error{Reason: cloud.ReasonServer}, false, "connections: HTTP 503"},
		{"504", 504, "", "{}", cloud.Error{Reason: cloud.ReasonServer}, false, "connections: HTTP 504"},
		{"599", 599, "", "", cloud.Error{Reason: cloud.ReasonServer}, false, "connections: HTTP 599"},
		{"HTML, 401", 401, "", "<html>", cloud.Error{Reason: cloud.ReasonAuth, Message: "the credentials were rejected"}, true,
			"connections: HTTP 401: the credentials were rejected"},
		{"empty, 403", 403, "", "", cloud.Error{Reason: cloud.ReasonDenied}, true, "connections: HTTP 403"},
		{"empty, 404", 404, "", "", cloud.Error{Reason: cloud.ReasonNotFound}, true, "connections: HTTP 404"},
		{"empty, 429", 429, "", "", cloud.Error{Reason: cloud.ReasonThrottled}, true, "connections: HTTP 429"},
		{"402", 402, "", "", cloud.Error{Reason: cloud.ReasonInvalid}, false, "connections: HTTP 402"},
		{"409", 409, "", "", cloud.Error{Reason: cloud.ReasonInvalid}, false, "connections: HTTP 409"},
		{"412", 412, "", "", cloud.Error{Reason: cloud.ReasonInvalid}, false, "connections: HTTP 412"},
		{"408", 408, "", "", cloud.Error{Reason: cloud.ReasonInvalid}, false, "connections: HTTP 408"},
		{"201", 201, "", css.SeedBody, cloud.Error{Reason: cloud.ReasonInvalid}, false, "connections: HTTP 201"},
		{"202", 202, "", "", cloud.Error{Reason: cloud.ReasonInvalid}, false, "connections: HTTP 202"},
		{"204", 204, "", "", cloud.Error{Reason: cloud.ReasonInvalid}, false, "connections: HTTP 204"},
		{"206", 206, "", css.SeedBody, cloud.Error{Reason: cloud.ReasonInvalid}, false, "connections: HTTP 206"},
		{"304", 304, "", "", cloud.Error{Reason: cloud.ReasonInvalid, Message: "redirect not followed"}, false,
			"connections: HTTP 304: redirect not followed"},
	})
}

func TestErrorsWithOddBodies(t *testing.T) {
	checkErrors(t, []errorTest{
		{"odd types", 400, "", `{"errCode":["x"],"error_code":17,"externalMessage":{"a":1},"error_msg":null,"message":5,"request_id":9,"error":"x"}`,
			cloud.Error{Reason: cloud.ReasonInvalid, Code: "17", Message: "5", RequestID: "9"}, false, "connections: HTTP 400 17: 5"},
		{"error is a text", 400, "", `{"error":"invalid","message":"m"}`, cloud.Error{Reason: cloud.ReasonInvalid, Message: "m"}, false,
			"connections: HTTP 400: m"},
		{"a list", 400, "", `[{"errCode":"CSS.0001"}]`, cloud.Error{Reason: cloud.ReasonInvalid}, false, "connections: HTTP 400"},
		{"code with spaces and lines", 400, "a b", `{"errCode":"CSS 0001\nx","externalMessage":"m\nsecond line","request_id":"<script>"}`,
			cloud.Error{Reason: cloud.ReasonInvalid, Message: "m"}, false, "connections: HTTP 400: m"},
		{"long", 400, strings.Repeat("r", 129), fmt.Sprintf(`{"errCode":%q,"externalMessage":%q}`, strings.Repeat("C", 129), strings.Repeat("é", 500)),
			cloud.Error{Reason: cloud.ReasonInvalid, Message: strings.Repeat("é", 100)}, false, "connections: HTTP 400: " + strings.Repeat("é", 100)},
		{"control characters", 400, "", `{"externalMessage":"\u001b[31ma\u0000b\u202ec\u0007"}`,
			cloud.Error{Reason: cloud.ReasonInvalid, Message: "[31mabc"}, false, "connections: HTTP 400: [31mabc"},
	})
}

func TestInvalidBodies(t *testing.T) {
	checkErrors(t, []errorTest{
		{"200, empty", 200, "", "", cloud.Error{Reason: cloud.ReasonDecode, Message: "*"}, true, ""},
		{"200, {}", 200, "", "{}", cloud.Error{Reason: cloud.ReasonDecode, Message: "*"}, true, ""},
		{"200, []", 200, "", "[]", cloud.Error{Reason: cloud.ReasonDecode, Message: "*"}, true, ""},
		{"200, null", 200, "", "null", cloud.Error{Reason: cloud.ReasonDecode, Message: "*"}, true, ""},
		{"200, HTML", 200, "", "<html>secret page</html>", cloud.Error{Reason: cloud.ReasonDecode, Message: "*"}, true, ""},
		{"200, an error", 200, "", throttledBody, cloud.Error{Reason: cloud.ReasonDecode, Message: "*"}, true, ""},
		{"200, cut JSON", 200, "", css.SeedBody[:300], cloud.Error{Reason: cloud.ReasonDecode, Message: "*"}, true, ""},
	})
}

// TestHintsOfCodes: the status alone would mislead.
func TestHintsOfCodes(t *testing.T) {
	for _, test := range []struct {
		status     int
		code, hint string
	}{
		{202, "CSS.0011", "asks to try again later"},
		{400, "CSS.0045", "check the access key"},
		{400, "CSS.0051", "allow css:cluster:list"},
		{403, "", "a proxy or a firewall may have refused the request"},
	} {
		_, client := answering(t, answer(test.status, `{"errCode":"`+test.code+`","externalMessage":"x"}`))
		_, connections := client.Connections(t.Context(), "c", nil)
		_, clusters := client.Clusters(t.Context())
		for _, err := range []error{connections, clusters} {
			if hint := failure(t, err).Hint(); !strings.Contains(hint, test.hint) {
				t.Errorf("%v: got the hint %q, want %q in it", err, hint, test.hint)
			}
		}
	}
}

func TestTryLaterIsNotRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		simulated, client := answering(t, answer(202, `{"errCode":"CSS.0011","externalMessage":"try later"}`),
			func(o *csstest.Options) { o.Retry = cloud.DefaultRetry() })
		_, connections := client.Connections(t.Context(), "c", nil)
		_, clusters := client.Clusters(t.Context())
		if cloud.ReasonOf(connections) != cloud.ReasonServer || cloud.ReasonOf(clusters) != cloud.ReasonServer {
			t.Errorf("got %v and %v, want the reason server", connections, clusters)
		}
		if n := len(simulated.Requests()); n != 2 {
			t.Errorf("got %d requests, want one for each call", n)
		}
	})
}
