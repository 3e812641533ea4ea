// SPDX-License-Identifier: Apache-2.0

package css

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/time/rate"
)

// TestSeedOverTheWire reads the documented answer from a server that demands a correct signature, in one call.
func TestSeedOverTheWire(t *testing.T) {
	f := newFake(t, says(200, seedBody))
	var exchanges []Exchange
	c := newTestClient(t, f.URL, func(o *Options) { o.Observe = func(e Exchange) { exchanges = append(exchanges, e) } })
	list, err := c.Connections(soon(t), testCluster, nil)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, list, mustParse(t, seedBody))
	calls := f.seen()
	if len(calls) != 1 {
		t.Fatalf("%d calls, want 1", len(calls))
	}
	if got := calls[0].query.Encode(); got != "limit=1000" {
		t.Errorf("query %q", got)
	}
	if len(exchanges) != 1 || exchanges[0].Duration <= 0 || exchanges[0].Code() != "200" ||
		exchanges[0].Region != "cn-north-4" || exchanges[0].Operation != "connections" {
		t.Errorf("exchanges %+v", exchanges)
	}
}

func TestHeaders(t *testing.T) {
	for _, test := range []struct {
		name        string
		credentials Credentials
		want        map[string]string
		absent      []string
	}{
		{
			"keys", Credentials{AccessKey: testAK, SecretKey: testSK},
			map[string]string{"X-Project-Id": testProject}, []string{"X-Security-Token", "X-Auth-Token"},
		},
		{
			"temporary keys", Credentials{AccessKey: testAK, SecretKey: testSK, SecurityToken: testToken},
			map[string]string{"X-Project-Id": testProject, "X-Security-Token": testToken}, []string{"X-Auth-Token"},
		},
		{
			"token", Credentials{AuthToken: testAuth},
			map[string]string{"X-Auth-Token": testAuth}, []string{"Authorization", "X-Security-Token", "X-Sdk-Date"},
		},
		{
			"token and keys", Credentials{AccessKey: testAK, SecretKey: testSK, SecurityToken: testToken, AuthToken: testAuth},
			map[string]string{"X-Auth-Token": testAuth}, []string{"Authorization", "X-Security-Token", "X-Sdk-Date"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t, says(200, seedBody))
			if _, err := newTestClient(t, f.URL, withCredentials(NewFiles(test.credentials, Credentials{}))).Connections(soon(t), "c", nil); err != nil {
				t.Fatal(err)
			}
			header := f.seen()[0].header
			test.want["User-Agent"] = "css_vpcep_exporter/test"
			test.want["Accept"] = "application/json"
			for name, want := range test.want {
				if got := header.Values(name); len(got) != 1 || got[0] != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			for _, name := range test.absent {
				if header.Get(name) != "" {
					t.Errorf("%s is there", name)
				}
			}
			if signed := header.Get("Authorization"); signed != "" {
				want := "SignedHeaders=x-project-id;x-sdk-date,"
				if test.credentials.SecurityToken != "" {
					want = "SignedHeaders=x-project-id;x-sdk-date;x-security-token,"
				}
				if !strings.Contains(signed, want) {
					t.Errorf("Authorization %q lacks %q", signed, want)
				}
			}
		})
	}
}

// TestFreshSignature: a request that is tried again has a signature of its own time, or it would be refused as old.
func TestFreshSignature(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dates []string
		c := newTestClient(t, "http://css.invalid", withRetry(Retry{Tries: 3, Base: 2 * time.Second, Limit: 20 * time.Second}),
			withTransport(roundTripper(func(r *http.Request) (*http.Response, error) {
				if err := verify(r, nil, testAK, testSK, "", time.Now()); err != nil {
					t.Error(err)
				}
				dates = append(dates, r.Header.Get("X-Sdk-Date"))
				return response(r, 503, ""), nil
			})))
		_, err := c.Connections(t.Context(), "c", nil)
		if e := failure(t, err); e.Reason != ReasonServer {
			t.Errorf("reason %q", e.Reason)
		}
		if len(dates) != 3 || dates[0] == dates[1] || dates[1] == dates[2] {
			t.Errorf("dates %q, want three different ones", dates)
		}
	})
}

// TestRedirectsRefused: nothing goes to where a redirect points.
func TestRedirectsRefused(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		elsewhere.Add(1)
		fmt.Fprint(w, seedBody)
	}))
	defer other.Close()
	for _, status := range []int{300, 301, 302, 303, 307, 308} {
		for name, location := range map[string]string{
			"elsewhere": other.URL + "/x?secret", "here": "/other", "none": "", "broken": "http://[::1", "scheme": "file:///etc/passwd",
		} {
			t.Run(fmt.Sprint(status, " ", name), func(t *testing.T) {
				f := newFake(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
					if location != "" {
						w.Header().Set("Location", location)
					}
					w.WriteHeader(status)
					fmt.Fprint(w, seedBody)
				})
				_, err := newTestClient(t, f.URL, withRetry(quick())).Connections(soon(t), "c", nil)
				e := failure(t, err)
				if e.Reason != ReasonInvalid || e.Status != status {
					t.Errorf("reason %q, status %d; want invalid, %d: %v", e.Reason, e.Status, status, err)
				}
				if location != "" {
					contains(t, "the error", err.Error(), location)
				}
				if n := len(f.seen()); n != 1 {
					t.Errorf("%d calls, want 1", n)
				}
			})
		}
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d requests followed a redirect", n)
	}
}

// TestBodyWithoutEnd: reading stops at 16 MiB, packed or not, and the server is let go.
func TestBodyWithoutEnd(t *testing.T) {
	for _, name := range []string{"plain", "gzip"} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan int64, 1)
			f := newFake(t, func(w http.ResponseWriter, r *http.Request, _ int) {
				var to io.Writer = w
				if name == "gzip" {
					if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
						t.Error("gzip is not offered")
					}
					w.Header().Set("Content-Encoding", "gzip")
					packed := gzip.NewWriter(w)
					to = packed
				}
				var sent int64
				chunk := []byte(`{"connections":[` + strings.Repeat(`{"id":"a"},`, 10_000))
				for r.Context().Err() == nil && sent < 1<<30 {
					n, err := to.Write(chunk)
					if sent += int64(n); err != nil {
						break
					}
				}
				ended <- sent
			})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := newTestClient(t, f.URL, withRetry(quick())).Connections(soon(t), "c", nil)
			runtime.ReadMemStats(&after)
			if e := failure(t, err); e.Reason != ReasonDecode {
				t.Errorf("error %v, want a reason decode", err)
			}
			select {
			case sent := <-ended:
				if sent >= 1<<30 {
					t.Errorf("the server could send %d bytes", sent)
				}
			case <-time.After(5 * time.Second):
				t.Error("the server still sends")
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 200<<20 {
				t.Errorf("%d MiB were allocated", used>>20)
			}
			if n := len(f.seen()); n != 1 {
				t.Errorf("%d calls, want 1", n)
			}
		})
	}
}

// TestBodyAtTheLimit: 16 MiB are read, one byte more is not.
func TestBodyAtTheLimit(t *testing.T) {
	for extra, ok := range map[int]bool{0: true, 1: false} {
		head := `{"connections":[],"x":"`
		body := head + strings.Repeat("a", 16<<20-len(head)-2) + `"}` + strings.Repeat(" ", extra)
		f := newFake(t, says(200, body))
		_, err := newTestClient(t, f.URL).Connections(soon(t), "c", nil)
		if (err == nil) != ok {
			t.Errorf("%d bytes: %v", len(body), err)
		}
		if err != nil && ReasonOf(err) != ReasonDecode {
			t.Errorf("%d bytes: reason %q", len(body), ReasonOf(err))
		}
	}
}

func TestGzip(t *testing.T) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	fmt.Fprint(w, seedBody)
	_ = w.Close()
	f := newFake(t, func(w http.ResponseWriter, _ *http.Request, n int) {
		w.Header().Set("Content-Encoding", "gzip")
		switch n {
		case 1:
			_, _ = w.Write(packed.Bytes())
		case 2:
			_, _ = w.Write(packed.Bytes()[:packed.Len()/2])
		default:
			fmt.Fprint(w, seedBody) // says gzip and is not
		}
	})
	c := newTestClient(t, f.URL)
	list, err := c.Connections(soon(t), "c", nil)
	if err != nil || len(list.Connections) != 2 {
		t.Errorf("packed: %v, %v", list, err)
	}
	for _, what := range []string{"cut", "no gzip"} {
		if _, err := c.Connections(soon(t), "c", nil); err == nil {
			t.Errorf("%s: no error", what)
		} else if r := ReasonOf(err); r != ReasonDecode && r != ReasonTransport {
			t.Errorf("%s: reason %q", what, r)
		}
	}
}

func TestErrorTable(t *testing.T) {
	const gateway = `{"error_code":"APIGW.0308","error_msg":"The throttling threshold has been reached","request_id":"r-1"}`
	for _, test := range []struct {
		name    string
		status  int
		header  string // X-Request-Id
		body    string
		want    Error
		hinted  bool
		printed string
	}{
		{"CSS, cluster missing", 403, "", `{"errCode":"CSS.0015","externalMessage":"No permission."}`,
			Error{Reason: ReasonDenied, Code: "CSS.0015", Message: "No permission."}, true,
			"connections: HTTP 403 CSS.0015: No permission."},
		{"CSS, denied as 400", 400, "", `{"errCode":"CSS.0051","externalMessage":"denied"}`,
			Error{Reason: ReasonDenied, Code: "CSS.0051", Message: "denied"}, true, "connections: HTTP 400 CSS.0051: denied"},
		{"CSS, denied as 400 too", 400, "", `{"errCode":"CSS.5313","externalMessage":"denied"}`,
			Error{Reason: ReasonDenied, Code: "CSS.5313", Message: "denied"}, true, "connections: HTTP 400 CSS.5313: denied"},
		{"CSS, invalid", 400, "h-1", `{"errCode":"CSS.0001","externalMessage":"Incorrect parameters."}`,
			Error{Reason: ReasonInvalid, Code: "CSS.0001", RequestID: "h-1", Message: "Incorrect parameters."}, false,
			"connections: HTTP 400 CSS.0001: Incorrect parameters."},
		{"gateway, 401", 401, "", `{"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information: x","request_id":"r-1"}`,
			Error{Reason: ReasonAuth, Code: "APIGW.0301", RequestID: "r-1", Message: "the credentials were rejected"}, true,
			"connections: HTTP 401 APIGW.0301: the credentials were rejected"},
		{"gateway, token expired", 401, "h-1", `{"error_code":"APIGW.0307","error_msg":"x","request_id":"r-1"}`,
			Error{Reason: ReasonAuth, Code: "APIGW.0307", RequestID: "h-1", Message: "the credentials were rejected"}, true,
			"connections: HTTP 401 APIGW.0307: the credentials were rejected"},
		{"gateway, 403", 403, "", `{"error_code":"APIGW.0302","error_msg":"Not in the whitelist","request_id":"r-1"}`,
			Error{Reason: ReasonDenied, Code: "APIGW.0302", RequestID: "r-1", Message: "Not in the whitelist"}, true,
			"connections: HTTP 403 APIGW.0302: Not in the whitelist"},
		{"gateway, 429", 429, "", gateway,
			Error{Reason: ReasonThrottled, Code: "APIGW.0308", RequestID: "r-1", Message: "The throttling threshold has been reached"},
			true, "connections: HTTP 429 APIGW.0308: The throttling threshold has been reached"},
		{"echoed request", 403, "", `{"error_msg":"verify failed, CanonicalRequest:GET|/v1.0/p/"}`,
			Error{Reason: ReasonDenied, Message: "verify failed"}, true, "connections: HTTP 403: verify failed"},
		{"old gateway", 404, "", `{"message":"API not found","request_id":"r-1"}`,
			Error{Reason: ReasonNotFound, RequestID: "r-1", Message: "API not found"}, true, "connections: HTTP 404: API not found"},
		{"IAM", 401, "", `{"error":{"code":401,"message":"The request you have made requires authentication.","title":"Unauthorized"}}`,
			Error{Reason: ReasonAuth, Code: "401", Message: "the credentials were rejected"}, true,
			"connections: HTTP 401 401: the credentials were rejected"},
		{"IAM, 403", 403, "", `{"error":{"code":403,"message":"You are not authorized.","title":"Forbidden"}}`,
			Error{Reason: ReasonDenied, Code: "403", Message: "You are not authorized."}, true,
			"connections: HTTP 403 403: You are not authorized."},
		{"HTML, 500", 500, "h-1", "<html><body><h1>500</h1></body></html>", Error{Reason: ReasonServer, RequestID: "h-1"}, false,
			"connections: HTTP 500"},
		{"HTML, 502", 502, "", "<html>", Error{Reason: ReasonServer}, false, "connections: HTTP 502"},
		{"empty, 503", 503, "", "", Error{Reason: ReasonServer}, false, "connections: HTTP 503"},
		{"504", 504, "", "{}", Error{Reason: ReasonServer}, false, "connections: HTTP 504"},
		{"599", 599, "", "", Error{Reason: ReasonServer}, false, "connections: HTTP 599"},
		{"HTML, 401", 401, "", "<html>", Error{Reason: ReasonAuth, Message: "the credentials were rejected"}, true,
			"connections: HTTP 401: the credentials were rejected"},
		{"empty, 403", 403, "", "", Error{Reason: ReasonDenied}, true, "connections: HTTP 403"},
		{"empty, 404", 404, "", "", Error{Reason: ReasonNotFound}, true, "connections: HTTP 404"},
		{"empty, 429", 429, "", "", Error{Reason: ReasonThrottled}, true, "connections: HTTP 429"},
		{"token incorrect as 400", 400, "", `{"errCode":"CSS.0045","externalMessage":"token incorrect"}`,
			Error{Reason: ReasonAuth, Code: "CSS.0045", Message: "the credentials were rejected"}, true,
			"connections: HTTP 400 CSS.0045: the credentials were rejected"},
		{"try later as 202", 202, "", `{"errCode":"CSS.0011","externalMessage":"try later"}`,
			Error{Reason: ReasonServer, Code: "CSS.0011", Message: "try later"}, true, "connections: HTTP 202 CSS.0011: try later"},
		{"402", 402, "", "", Error{Reason: ReasonInvalid}, false, "connections: HTTP 402"},
		{"409", 409, "", "", Error{Reason: ReasonInvalid}, false, "connections: HTTP 409"},
		{"412", 412, "", "", Error{Reason: ReasonInvalid}, false, "connections: HTTP 412"},
		{"408", 408, "", "", Error{Reason: ReasonInvalid}, false, "connections: HTTP 408"},
		{"201", 201, "", seedBody, Error{Reason: ReasonInvalid}, false, "connections: HTTP 201"},
		{"202", 202, "", "", Error{Reason: ReasonInvalid}, false, "connections: HTTP 202"},
		{"204", 204, "", "", Error{Reason: ReasonInvalid}, false, "connections: HTTP 204"},
		{"206", 206, "", seedBody, Error{Reason: ReasonInvalid}, false, "connections: HTTP 206"},
		{"304", 304, "", "", Error{Reason: ReasonInvalid, Message: "redirect not followed"}, false,
			"connections: HTTP 304: redirect not followed"},
		{"denial with 404", 404, "", `{"errCode":"CSS.0051"}`, Error{Reason: ReasonDenied, Code: "CSS.0051"}, true,
			"connections: HTTP 404 CSS.0051"},
		{"odd types", 400, "", `{"errCode":["x"],"error_code":17,"externalMessage":{"a":1},"error_msg":null,"message":5,"request_id":9,"error":"x"}`,
			Error{Reason: ReasonInvalid, Code: "17", Message: "5", RequestID: "9"}, false, "connections: HTTP 400 17: 5"},
		{"error is a text", 400, "", `{"error":"invalid","message":"m"}`, Error{Reason: ReasonInvalid, Message: "m"}, false,
			"connections: HTTP 400: m"},
		{"a list", 400, "", `[{"errCode":"CSS.0001"}]`, Error{Reason: ReasonInvalid}, false, "connections: HTTP 400"},
		{"code with spaces and lines", 400, "a b", `{"errCode":"CSS 0001\nx","externalMessage":"m\nsecond line","request_id":"<script>"}`,
			Error{Reason: ReasonInvalid, Message: "m"}, false, "connections: HTTP 400: m"},
		{"long", 400, strings.Repeat("r", 129), fmt.Sprintf(`{"errCode":%q,"externalMessage":%q}`, strings.Repeat("C", 129), strings.Repeat("é", 500)),
			Error{Reason: ReasonInvalid, Message: strings.Repeat("é", 100)}, false, "connections: HTTP 400: " + strings.Repeat("é", 100)},
		{"control characters", 400, "", `{"externalMessage":"\u001b[31ma\u0000b\u202ec\u0007"}`,
			Error{Reason: ReasonInvalid, Message: "[31mabc"}, false, "connections: HTTP 400: [31mabc"},
		{"200, empty", 200, "", "", Error{Reason: ReasonDecode, Message: "*"}, true, ""},
		{"200, {}", 200, "", "{}", Error{Reason: ReasonDecode, Message: "*"}, true, ""},
		{"200, []", 200, "", "[]", Error{Reason: ReasonDecode, Message: "*"}, true, ""},
		{"200, null", 200, "", "null", Error{Reason: ReasonDecode, Message: "*"}, true, ""},
		{"200, HTML", 200, "", "<html>secret page</html>", Error{Reason: ReasonDecode, Message: "*"}, true, ""},
		{"200, an error", 200, "", gateway, Error{Reason: ReasonDecode, Message: "*"}, true, ""},
		{"200, cut JSON", 200, "", seedBody[:300], Error{Reason: ReasonDecode, Message: "*"}, true, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
				if test.header != "" {
					w.Header().Set("X-Request-Id", test.header)
				}
				w.WriteHeader(test.status)
				fmt.Fprint(w, test.body)
			})
			list, err := newTestClient(t, f.URL).Connections(soon(t), "c", nil)
			if list != nil {
				t.Errorf("list %+v beside an error", list)
			}
			e := failure(t, err)
			got := Error{Reason: e.Reason, Operation: e.Operation, Status: e.Status, Code: e.Code, RequestID: e.RequestID, Message: e.Message}
			test.want.Operation = "connections"
			if test.want.Reason != ReasonDecode {
				test.want.Status = test.status
			}
			if test.want.Message == "*" {
				if got.Message == "" || len(got.Message) > 100 || (len(test.body) > 6 && strings.Contains(got.Message, test.body[:6])) {
					t.Errorf("message %q", got.Message)
				}
				test.want.Message = got.Message
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(Error{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if test.printed != "" && err.Error() != test.printed {
				t.Errorf("prints as %q, want %q", err, test.printed)
			}
			if hint := e.Hint(); test.hinted && hint == "" || strings.HasSuffix(hint, ".") {
				t.Errorf("hint is %q", hint)
			}
			if !slices.Contains(Reasons(), e.Reason) || ReasonOf(fmt.Errorf("x: %w", err)) != e.Reason {
				t.Errorf("reason %q is not known", e.Reason)
			}
			if n := len(f.seen()); n != 1 {
				t.Errorf("%d calls, want 1", n)
			}
		})
	}
}

// printed gives every text that an error can end up as.
func printed(err error) map[string]string {
	var text, jsonText bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Error("x", "err", err)
	slog.New(slog.NewJSONHandler(&jsonText, nil)).Error("x", "err", err)
	out := map[string]string{"slog text": text.String(), "slog JSON": jsonText.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		out[verb] = fmt.Sprintf(verb, err)
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		out[fmt.Sprintf("%T", inner)] = inner.Error()
	}
	if e, ok := errors.AsType[*Error](err); ok {
		out["hint"] = e.Hint()
		out["fields"] = fmt.Sprintf("%s %s %s", e.Code, e.RequestID, e.Message)
		out["%+v of the struct"] = fmt.Sprintf("%+v", *e)
	}
	return out
}

// TestEchoedRequestIsNotShown: the gateway's refusal of a signature holds the request that was signed, token and all.
func TestEchoedRequestIsNotShown(t *testing.T) {
	secrets := []string{testToken, testAK, testSK, "SignedHeaders", "Signature=", "x-security-token:"}
	echo := "verify aksk signature fail, canonicalRequest:GET|/v1.0/p/clusters/c/|limit=1000|x-project-id:p|" +
		"x-security-token:" + testToken + "||x-project-id;x-sdk-date|e3b0, Authorization: SDK-HMAC-SHA256 Access=" + testAK +
		", SignedHeaders=x-sdk-date, Signature=0123"
	for _, status := range []int{400, 401, 403, 404, 409, 429, 500, 503} {
		for _, body := range []string{
			fmt.Sprintf(`{"error_code":"APIGW.0301","error_msg":%q,"request_id":"r"}`, "Incorrect IAM authentication information: "+echo),
			fmt.Sprintf(`{"message":%q}`, strings.ReplaceAll(echo, "|", "\n")),
			fmt.Sprintf(`{"error":{"code":%q,"message":%q}}`, echo, echo),
			fmt.Sprintf(`{"errCode":%q,"externalMessage":%q,"request_id":%q}`, echo, strings.ToUpper("x-security-token: ")+testToken, echo),
			echo,
			"<html>" + echo + "</html>",
		} {
			f := newFake(t, says(status, body))
			c := newTestClient(t, f.URL, withCredentials(NewFiles(Credentials{AccessKey: testAK, SecretKey: testSK, SecurityToken: testToken}, Credentials{})))
			_, err := c.Connections(soon(t), "c", nil)
			noSecret(t, failure(t, err), secrets...)
			for range maxRefusals { // the error of paused credentials repeats some of it
				if _, err := c.Connections(soon(t), "c", nil); err != nil {
					noSecret(t, failure(t, err), secrets...)
				}
			}
		}
	}
}

// TestErrorNeverHoldsTheCredentials goes further: a server that puts a secret where nobody expects it.
func TestErrorNeverHoldsTheCredentials(t *testing.T) {
	const slashed = "MIIEzQ/YJKoZIhvc+NAQcCoII/Evj=="
	for _, test := range []struct{ name, token, header, body string }{
		{"message without a mark", testToken, "", `{"externalMessage":"token ` + testToken + ` is not good"}`},
		{"access key in a message", testToken, "", `{"error_msg":"ak ` + testAK + ` has no policy"}`},
		{"as code", testToken, "", `{"error_code":"` + testToken + `"}`},
		{"as request id", testToken, "", `{"request_id":"` + testToken + `"}`},
		{"as request id in the header", testToken, testToken, ``},
		{"with a slash", slashed, "", `{"message":"token ` + slashed + ` is not good"}`},
		{"with an escaped slash", slashed, "", `{"message":"token ` + strings.ReplaceAll(slashed, "/", `\/`) + ` is not good"}`},
		{"escaped", testToken, "", `{"message":"token \u0053` + testToken[1:] + ` is not good"}`},
		{"cut, behind letters that grow when lowered", testToken, "",
			`{"error_msg":"` + strings.Repeat("Ⱥ", 40) + ` x-security-token:` + testToken[:40] + `"}`},
		{"cut, behind letters that grow when lowered, early", testToken, "",
			`{"error_msg":"` + strings.Repeat("Ⱥ", 24) + ` x-security-token:` + testToken[:40] + strings.Repeat(".", 60) + `"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
				if test.header != "" {
					w.Header().Set("X-Request-Id", test.header)
				}
				w.WriteHeader(403)
				fmt.Fprint(w, test.body)
			})
			c := newTestClient(t, f.URL, withCredentials(NewFiles(Credentials{AccessKey: testAK, SecretKey: testSK, SecurityToken: test.token}, Credentials{})))
			_, err := c.Connections(soon(t), "c", nil)
			noSecret(t, failure(t, err), testAK, test.token, test.token[:6])
		})
	}
	for name, raw := range map[string]string{
		"no HTTP":            "X " + testToken + "\r\n\r\n",
		"no status":          "HTTP/1.1 " + testToken + "\r\n\r\n",
		"broken header line": "HTTP/1.1 200 OK\r\n" + testToken + "\r\n\r\n",
		"broken header name": "HTTP/1.1 200 OK\r\n" + testToken + " x: y\r\n\r\n",
		"broken length":      "HTTP/1.1 200 OK\r\nContent-Length: " + testToken + "\r\n\r\n",
		"broken encoding":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + testToken + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestClient(t, "http://"+rawServer(t, raw),
				withCredentials(NewFiles(Credentials{AccessKey: testAK, SecretKey: testSK, SecurityToken: testToken}, Credentials{})))
			_, err := c.Connections(soon(t), "c", nil)
			e := failure(t, err)
			if e.Reason != ReasonTransport && e.Reason != ReasonDecode {
				t.Errorf("reason %q", e.Reason)
			}
			noSecret(t, e, testToken, testAK, testToken[:20])
		})
	}
}

// noSecret tells in one line how a secret comes out of err, if it does.
func noSecret(t *testing.T, err error, secrets ...string) {
	t.Helper()
	var leaks []string
	for how, text := range printed(err) {
		if slices.ContainsFunc(secrets, func(s string) bool { return strings.Contains(text, s) }) {
			leaks = append(leaks, how)
		}
	}
	slices.Sort(leaks)
	if len(leaks) > 0 {
		t.Errorf("a secret comes out by %q: %v", leaks, err)
	}
}

// TestUnsendableSecret: a secret that cannot be put in a header is a failure that does not show it.
func TestUnsendableSecret(t *testing.T) {
	f := newFake(t, says(200, seedBody))
	for _, s := range []Credentials{
		{AccessKey: testAK + "\nx", SecretKey: testSK},
		{AccessKey: testAK, SecretKey: testSK, SecurityToken: testToken + "\r\nEvil: 1"},
		{AuthToken: testAuth + "\x00"},
	} {
		_, err := newTestClient(t, f.URL, withCredentials(NewFiles(s, Credentials{})), withRetry(quick())).Connections(soon(t), "c", nil)
		noSecret(t, failure(t, err), testAK, testToken, testAuth)
	}
	if n := len(f.seen()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// rawServer answers every connection with raw bytes, after it has read a request's head, and closes it.
func rawServer(t *testing.T, raw string) (address string) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
				head := make([]byte, 0, 4096)
				for chunk := make([]byte, 1024); !bytes.Contains(head, []byte("\r\n\r\n")); {
					n, err := conn.Read(chunk)
					if head = append(head, chunk[:n]...); err != nil {
						return
					}
				}
				_, _ = io.WriteString(conn, raw)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		group.Wait()
	})
	return listener.Addr().String()
}

func TestTransportFailures(t *testing.T) {
	dns := func(d net.DNSError) *http.Transport {
		tr := NewTransport(nil, nil)
		tr.DialContext = func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &d}
		}
		return tr
	}
	closed, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, seedBody) }))
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	secure.StartTLS()
	defer secure.Close()
	plain := newFake(t, says(200, seedBody))

	for _, test := range []struct {
		name      string
		endpoint  string
		transport http.RoundTripper
		tries     int
		hint      string // part of it
	}{
		{"no such name", "http://css.invalid", dns(net.DNSError{Err: "no such host", Name: "css.invalid", IsNotFound: true}), 1, "DNS"},
		{"name server away", "http://css.invalid", dns(net.DNSError{Err: "server misbehaving", Name: "css.invalid", IsTemporary: true}), 4, "DNS"},
		{"refused", "http://" + closed.Addr().String(), nil, 4, "network"},
		{"certificate", secure.URL, nil, 1, "tls_config.ca_file"},
		{"no TLS", strings.Replace(plain.URL, "http:", "https:", 1), nil, 0, "network"},
		{"closed without an answer", "http://" + rawServer(t, ""), nil, 4, "network"},
		{"cut headers", "http://" + rawServer(t, "HTTP/1.1 200 OK\r\nContent-Le"), nil, 4, "network"},
		{"cut body", "http://" + rawServer(t, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"+seedBody), nil, 4, "network"},
		{"cut chunks", "http://" + rawServer(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"con"), nil, 4, "network"},
		{"endless headers", "http://" + rawServer(t, "HTTP/1.1 200 OK\r\n"+strings.Repeat("A: "+strings.Repeat("b", 1000)+"\r\n", 1000)), nil, 0, "network"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var tries int
			c := newTestClient(t, test.endpoint, withRetry(quick()), func(o *Options) {
				o.Observe = func(Exchange) { tries++ }
				if test.transport != nil {
					o.Transport = test.transport
				}
			})
			list, err := c.Connections(soon(t), "c", nil)
			e := failure(t, err)
			if e.Reason != ReasonTransport || list != nil {
				t.Errorf("reason %q, list %v: %v", e.Reason, list, err)
			}
			if test.tries > 0 && tries != test.tries {
				t.Errorf("%d tries, want %d", tries, test.tries)
			}
			if !strings.Contains(e.Hint(), test.hint) || e.Hint() == "" {
				t.Errorf("hint %q lacks %q", e.Hint(), test.hint)
			}
			if len(err.Error()) > 300 || strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("message %q", err)
			}
		})
	}
}

// TestHTTP2 wants HTTP/2 where it is offered, over one warm connection.
func TestHTTP2(t *testing.T) {
	var opened, second atomic.Int64
	f := newFake(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		if r.ProtoMajor == 2 {
			second.Add(1)
		}
		fmt.Fprint(w, seedBody)
	}, func(s *httptest.Server) {
		s.EnableHTTP2 = true
		s.Config.ConnState = count(&opened)
		s.StartTLS()
	})
	roots := x509.NewCertPool()
	roots.AddCert(f.Certificate())
	c := newTestClient(t, f.URL, withTransport(NewTransport(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, nil)))
	for range 5 {
		if _, err := c.Connections(soon(t), testCluster, nil); err != nil {
			t.Fatal(err)
		}
	}
	if second.Load() != 5 || opened.Load() != 1 {
		t.Errorf("%d of 5 calls by HTTP/2, over %d connections", second.Load(), opened.Load())
	}
}

func count(opened *atomic.Int64) func(net.Conn, http.ConnState) {
	return func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
}

// TestWarmConnections counts what the server accepts.
func TestWarmConnections(t *testing.T) {
	for _, test := range []struct {
		name     string
		answer   answer
		parallel int
	}{
		{"answers", says(200, seedBody), 1},
		{"refusals", says(403, `{"errCode":"CSS.0015"}`), 1},
		{"service off", says(400, `{"errCode":"CSS.5182"}`), 1},
		{"HTML", says(500, strings.Repeat("<html>", 5000)), 1},
		{"no answers", says(200, strings.Repeat("<html>", 5000)), 1},
		{"in parallel", says(200, seedBody), 8},
	} {
		t.Run(test.name, func(t *testing.T) {
			var opened atomic.Int64
			f := newFake(t, test.answer, func(s *httptest.Server) { s.Config.ConnState = count(&opened) })
			c := newTestClient(t, f.URL)
			for range 50 / test.parallel {
				var group sync.WaitGroup
				for range test.parallel {
					group.Go(func() { _, _ = c.Connections(soon(t), testCluster, nil) })
				}
				group.Wait()
			}
			most := int64(1)
			if test.name == "HTML" {
				most = 2 // after repeated failures the address is looked up again, and not more often than every 10 s
			}
			if test.parallel > 1 {
				most = 2 * int64(test.parallel) // a call that waits may be served before the connection it dialled is there
			}
			if n := opened.Load(); n > most {
				t.Errorf("%d connections for %d calls, want at most %d", n, len(f.seen()), most)
			}
		})
	}
}

// TestDeadline: a call ends with its deadline, whatever the server does, and the server hears of it.
func TestDeadline(t *testing.T) {
	for _, test := range []struct {
		name string
		head func(w http.ResponseWriter)
		want Reason
	}{
		{"hangs before the headers", func(http.ResponseWriter) {}, ReasonTimeout},
		{"hangs before the body", func(w http.ResponseWriter) { w.WriteHeader(200) }, ReasonTimeout},
		{"hangs in the body", func(w http.ResponseWriter) { fmt.Fprint(w, seedBody[:100]) }, ReasonTimeout},
		// the status is known, and is why there will be no list
		{"hangs in the body of a 403", func(w http.ResponseWriter) { w.WriteHeader(403); fmt.Fprint(w, `{"errCode":`) }, ReasonDenied},
		{"hangs in the body of a 500", func(w http.ResponseWriter) { w.WriteHeader(500); fmt.Fprint(w, `<html>`) }, ReasonServer},
	} {
		t.Run(test.name, func(t *testing.T) {
			cancelled := make(chan struct{})
			f := newFake(t, func(w http.ResponseWriter, r *http.Request, _ int) {
				test.head(w)
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				close(cancelled)
			})
			start := time.Now()
			_, err := newTestClient(t, f.URL, withRetry(quick())).Connections(within(t, 150*time.Millisecond), "c", nil)
			if took := time.Since(start); took > time.Second {
				t.Errorf("took %s", took)
			}
			e := failure(t, err)
			if e.Reason != test.want {
				t.Errorf("reason %q, want %q: %v", e.Reason, test.want, err)
			}
			if e.Hint() == "" && e.Reason != ReasonServer {
				t.Error("no hint")
			}
			select {
			case <-cancelled:
			case <-time.After(2 * time.Second):
				t.Error("the server was not told")
			}
		})
	}
	t.Run("trickles", func(t *testing.T) {
		f := newFake(t, func(w http.ResponseWriter, r *http.Request, _ int) {
			for i := 0; r.Context().Err() == nil; i++ {
				fmt.Fprint(w, " ")
				w.(http.Flusher).Flush()
				time.Sleep(5 * time.Millisecond)
			}
		})
		_, err := newTestClient(t, f.URL).Connections(within(t, 150*time.Millisecond), "c", nil)
		if r := ReasonOf(err); r != ReasonTimeout {
			t.Errorf("reason %q: %v", r, err)
		}
	})
	t.Run("over before it begins", func(t *testing.T) {
		f := newFake(t, says(200, seedBody))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := newTestClient(t, f.URL).Connections(ctx, "c", nil)
		if e := failure(t, err); e.Reason != ReasonTimeout || !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		if n := len(f.seen()); n != 0 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestRetries(t *testing.T) {
	const good = `{"connections":[],"total_count":0}`
	for _, test := range []struct {
		name  string
		fail  func(w http.ResponseWriter) // what happens to the first two tries
		calls int
		want  Reason // "" for success
	}{
		{"429", func(w http.ResponseWriter) { w.WriteHeader(429) }, 3, ""},
		{"429, Retry-After 0", func(w http.ResponseWriter) { w.Header().Set("Retry-After", "0"); w.WriteHeader(429) }, 3, ""},
		{"429, Retry-After nonsense", func(w http.ResponseWriter) { w.Header().Set("Retry-After", "soon"); w.WriteHeader(429) }, 3, ""},
		{"502", func(w http.ResponseWriter) { w.WriteHeader(502) }, 3, ""},
		{"503", func(w http.ResponseWriter) { w.WriteHeader(503) }, 3, ""},
		{"504", func(w http.ResponseWriter) { w.WriteHeader(504) }, 3, ""},
		{"broken", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, 3, ""},
		{"cut", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, good)
			panic(http.ErrAbortHandler)
		}, 3, ""},
		{"400", func(w http.ResponseWriter) { w.WriteHeader(400) }, 1, ReasonInvalid},
		{"401", func(w http.ResponseWriter) { w.WriteHeader(401) }, 1, ReasonAuth},
		{"403", func(w http.ResponseWriter) { w.Header().Set("Retry-After", "0"); w.WriteHeader(403) }, 1, ReasonDenied},
		{"404", func(w http.ResponseWriter) { w.WriteHeader(404) }, 1, ReasonNotFound},
		{"408", func(w http.ResponseWriter) { w.WriteHeader(408) }, 1, ReasonInvalid},
		{"409", func(w http.ResponseWriter) { w.WriteHeader(409) }, 1, ReasonInvalid},
		{"412", func(w http.ResponseWriter) { w.WriteHeader(412) }, 1, ReasonInvalid},
		{"425", func(w http.ResponseWriter) { w.WriteHeader(425) }, 1, ReasonInvalid},
		{"500", func(w http.ResponseWriter) { w.WriteHeader(500) }, 1, ReasonServer},
		{"501", func(w http.ResponseWriter) { w.WriteHeader(501) }, 1, ReasonServer},
		{"204", func(w http.ResponseWriter) { w.WriteHeader(204) }, 1, ReasonInvalid},
		{"302", func(w http.ResponseWriter) { w.WriteHeader(302) }, 1, ReasonInvalid},
		{"no answer", func(w http.ResponseWriter) { fmt.Fprint(w, "{}") }, 1, ReasonDecode},
	} {
		t.Run(test.name, func(t *testing.T) {
			var observed atomic.Int64
			f := newFake(t, func(w http.ResponseWriter, _ *http.Request, n int) {
				if n <= 2 {
					test.fail(w)
					return
				}
				fmt.Fprint(w, good)
			})
			c := newTestClient(t, f.URL, withRetry(quick()), func(o *Options) { o.Observe = func(Exchange) { observed.Add(1) } })
			_, err := c.Connections(soon(t), "c", nil)
			if (err == nil) != (test.want == "") || (err != nil && ReasonOf(err) != test.want) {
				t.Errorf("error %v, want reason %q", err, test.want)
			}
			if n := len(f.seen()); n != test.calls {
				t.Errorf("%d calls, want %d", n, test.calls)
			}
			if n := observed.Load(); n != int64(test.calls) {
				t.Errorf("%d exchanges observed, want %d", n, test.calls)
			}
		})
	}
	t.Run("gives up", func(t *testing.T) {
		f := newFake(t, says(503, ""))
		_, err := newTestClient(t, f.URL, withRetry(quick())).Connections(soon(t), "c", nil)
		if e := failure(t, err); e.Reason != ReasonServer || e.Status != 503 || len(f.seen()) != 4 {
			t.Errorf("error %v after %d calls, want 503 after 4", err, len(f.seen()))
		}
	})
}

// TestRetryWaits looks at the waits on a clock that is not real.
func TestRetryWaits(t *testing.T) {
	run := func(t *testing.T, retry Retry, deadline time.Duration, header func(n int) string, status int) (at []time.Duration, end time.Duration, err error) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			c := newTestClient(t, "http://css.invalid", withRetry(retry),
				withTransport(roundTripper(func(r *http.Request) (*http.Response, error) {
					at = append(at, time.Since(start))
					resp := response(r, status, "")
					if h := header(len(at)); h != "" {
						resp.Header.Set("Retry-After", h)
					}
					return resp, nil
				})))
			ctx, cancel := context.WithTimeout(t.Context(), deadline)
			defer cancel()
			_, err = c.Connections(ctx, "c", nil)
			end = time.Since(start)
		})
		return at, end, err
	}
	none := func(int) string { return "" }
	retry := Retry{Tries: 4, Base: 100 * time.Millisecond, Limit: 150 * time.Millisecond}

	t.Run("jittered, doubled, limited", func(t *testing.T) {
		distinct := map[time.Duration]bool{}
		for range 20 {
			at, _, _ := run(t, retry, time.Minute, none, 503)
			if len(at) != 4 {
				t.Fatalf("%d tries", len(at))
			}
			for i, most := range []time.Duration{100, 150, 150} {
				most *= time.Millisecond
				if wait := at[i+1] - at[i]; wait < most/2 || wait > most {
					t.Errorf("wait %d is %s, want %s to %s", i+1, wait, most/2, most)
				}
			}
			distinct[at[1]] = true
		}
		if len(distinct) < 5 {
			t.Error("there is no jitter")
		}
	})
	for _, status := range []int{429, 503} {
		t.Run(fmt.Sprint("Retry-After in seconds with ", status), func(t *testing.T) {
			at, _, _ := run(t, retry, time.Minute, func(int) string { return " 7 " }, status)
			if len(at) != 4 || at[1] < 7*time.Second || at[1] > 8*time.Second {
				t.Errorf("tries at %v, want every 7 s", at)
			}
		})
	}
	t.Run("Retry-After as a date", func(t *testing.T) {
		at, _, _ := run(t, retry, time.Minute, func(n int) string {
			// a fake clock starts at midnight UTC 2000-01-01
			return time.Date(2000, 1, 1, 0, 0, 5*n, 0, time.UTC).Format(http.TimeFormat)
		}, 429)
		if len(at) != 4 || at[1] < 5*time.Second || at[1] > 6*time.Second || at[3] < 15*time.Second {
			t.Errorf("tries at %v, want 0, 5, 10 and 15 s", at)
		}
	})
	t.Run("Retry-After in the past", func(t *testing.T) {
		at, end, _ := run(t, retry, time.Minute, func(int) string { return "Fri, 31 Dec 1999 23:00:00 GMT" }, 503)
		if len(at) != 4 || end > 400*time.Millisecond {
			t.Errorf("tries at %v, want the usual waits", at)
		}
	})
	t.Run("Retry-After in the past with 429", func(t *testing.T) {
		at, _, _ := run(t, retry, time.Minute, func(int) string { return "Fri, 31 Dec 1999 23:00:00 GMT" }, 429)
		if want := []time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second}; !slices.Equal(at, want) {
			t.Errorf("tries at %v, want %v", at, want)
		}
	})
	t.Run("429 without Retry-After", func(t *testing.T) {
		at, _, _ := run(t, retry, time.Minute, none, 429)
		if want := []time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second}; !slices.Equal(at, want) {
			t.Errorf("tries at %v, want %v", at, want)
		}
	})
	t.Run("Retry-After beyond the deadline", func(t *testing.T) {
		for _, header := range []string{"60", "2147483647", "Fri, 31 Dec 2100 23:59:59 GMT"} {
			at, end, err := run(t, retry, 10*time.Second, func(int) string { return header }, 429)
			if e := failure(t, err); len(at) != 1 || end != 0 || e.Reason != ReasonThrottled || e.Status != 429 {
				t.Errorf("%s: %d tries in %s, error %v; want 1 in 0 s, throttled", header, len(at), end, err)
			}
		}
	})
	t.Run("backoff beyond the deadline", func(t *testing.T) {
		at, end, err := run(t, Retry{Tries: 4, Base: 4 * time.Second, Limit: time.Minute}, time.Second, none, 503)
		if e := failure(t, err); len(at) != 1 || end != 0 || e.Reason != ReasonServer {
			t.Errorf("%d tries in %s, error %v; want 1 in 0 s, server", len(at), end, err)
		}
	})
	t.Run("the zero value is the default", func(t *testing.T) {
		at, _, _ := run(t, Retry{}, time.Minute, none, 503)
		if len(at) != DefaultRetry().Tries || at[1] == 0 || at[len(at)-1] > 10*time.Second {
			t.Errorf("tries at %v", at)
		}
	})
	t.Run("a call that is given up while it waits", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			c := newTestClient(t, "http://css.invalid", withRetry(Retry{Tries: 2, Base: time.Hour, Limit: time.Hour}),
				withTransport(roundTripper(func(r *http.Request) (*http.Response, error) { return response(r, 503, ""), nil })))
			start := time.Now()
			_, err := c.Connections(ctx, "c", nil)
			if e := failure(t, err); e.Reason != ReasonServer || time.Since(start) != time.Second {
				t.Errorf("error %v after %s, want server after 1 s", err, time.Since(start))
			}
		})
	})
}

func TestRetryAfterHeader(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": -1, "0": 0, "1": time.Second, " 120 ": 2 * time.Minute, "-1": -1, "1.5": -1, "abc": -1, "99999999999999999999": -1,
		"Fri, 02 Jan 2026 03:04:15 GMT":   10 * time.Second,
		"Friday, 02-Jan-26 03:04:15 GMT":  10 * time.Second,
		"Fri Jan  2 03:04:15 2026":        10 * time.Second,
		"Fri, 02 Jan 2026 03:04:00 GMT":   0,
		"Fri, 02 Jan 2026 03:04:15 +0100": -1,
	} {
		if got := retryAfter(value, now); got.Set != (want >= 0) || got.Set && got.Value != want {
			t.Errorf("retryAfter(%q) = %v, want %s", value, got, want)
		}
	}
}

func TestClockHint(t *testing.T) {
	for skew, want := range map[time.Duration]string{
		0: "check the access key", 4 * time.Minute: "check the access key", -4 * time.Minute: "check the access key",
		20 * time.Minute: "20m0s ahead of the server's", -20 * time.Minute: "20m0s behind the server's",
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newTestClient(t, "http://css.invalid", withTransport(roundTripper(func(r *http.Request) (*http.Response, error) {
				resp := response(r, 401, "")
				resp.Header.Set("Date", time.Now().Add(-skew).UTC().Format(http.TimeFormat))
				return resp, nil
			})))
			_, err := c.Connections(t.Context(), "c", nil)
			if hint := failure(t, err).Hint(); !strings.Contains(hint, want) {
				t.Errorf("%s: hint %q, want %q", skew, hint, want)
			}
		})
	}
}

// TestBudget: each request takes its part of the budget, retries and pages included, and none is sent that would be late.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var at []time.Duration
		c := newTestClient(t, "http://css.invalid", withRetry(quick()), func(o *Options) { o.Budget = rate.NewLimiter(1, 1) },
			withTransport(roundTripper(func(r *http.Request) (*http.Response, error) {
				at = append(at, time.Since(start).Round(time.Millisecond))
				if len(at) == 2 {
					return response(r, 503, ""), nil
				}
				return response(r, 200, pageOf([]int{len(at)}, "2")), nil
			})))
		if err := c.Reserve(t.Context(), "c"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Connections(t.Context(), "c", nil); err != nil {
			t.Fatal(err)
		}
		if want := []time.Duration{0, time.Second, 2 * time.Second}; !slices.Equal(at, want) {
			t.Errorf("requests at %v, want %v", at, want)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, listErr := c.Clusters(ctx)
		for _, err := range []error{c.Reserve(ctx, "c"), listErr} {
			if e := failure(t, err); e.Reason != ReasonTimeout || e.Sent() || len(at) != 3 {
				t.Errorf("error %v after %d requests, want a timeout without another one", err, len(at))
			}
		}
	})
}

func TestNoCredentials(t *testing.T) {
	f := newFake(t, says(200, seedBody))
	for _, s := range []Credentials{{}, {AccessKey: testAK}, {SecretKey: testSK}, {SecurityToken: testToken}} {
		c := newTestClient(t, f.URL, withCredentials(NewFiles(s, Credentials{})), withRetry(quick()))
		_, err := c.Connections(soon(t), "c", nil)
		if e := failure(t, err); e.Reason != ReasonAuth || e.Hint() == "" {
			t.Errorf("error %v", err)
		}
		contains(t, "the error", err.Error(), testAK, testSK, testToken)
	}
	if len(f.seen()) != 0 {
		t.Errorf("%d calls", len(f.seen()))
	}
}
