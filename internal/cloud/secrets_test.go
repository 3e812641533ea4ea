// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"
)

// printed returns every text that an error may end up as.
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
	if e, ok := errors.AsType[*cloud.Error](err); ok {
		out["hint"] = e.Hint()
		out["fields"] = fmt.Sprintf("%s %s %s", e.Code, e.RequestID, e.Message)
		out["%+v of the struct"] = fmt.Sprintf("%+v", *e)
	}
	return out
}

// TestEchoedRequestIsNotShown: a gateway that rejects a signature quotes the signed request with the security token.
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
			f := newCloud(t, answer(status, body))
			c := newClient(t, f.URL, withKey(f, testToken))
			_, err := c.read(bounded(t), "c")
			noSecret(t, failure(t, err), secrets...)
			for range maxRejections { // the error of paused credentials repeats some of it
				if _, err := c.read(bounded(t), "c"); err != nil {
					noSecret(t, failure(t, err), secrets...)
				}
			}
		}
	}
}

// TestErrorsHideQuotedCredentials: an answer may quote a secret anywhere.
func TestErrorsHideQuotedCredentials(t *testing.T) {
	const slashed = "MIIEzQ/YJKoZIhvc+NAQcCoII/Evj=="
	for _, test := range []struct{ name, token, header, body string }{
		{"message without a mark", testToken, "", `{"externalMessage":"token ` + testToken + ` is not good"}`},
		{"access key in a message", testToken, "", `{"error_msg":"ak ` + testAK + ` has no policy"}`},
		{"as code", testToken, "", `{"error_code":"` + testToken + `"}`},
		{"as request ID", testToken, "", `{"request_id":"` + testToken + `"}`},
		{"as request ID in the header", testToken, testToken, ``},
		{"with a slash", slashed, "", `{"message":"token ` + slashed + ` is not good"}`},
		{"with an escaped slash", slashed, "", `{"message":"token ` + strings.ReplaceAll(slashed, "/", `\/`) + ` is not good"}`},
		{"escaped", testToken, "", `{"message":"token \u0053` + testToken[1:] + ` is not good"}`},
		{"cut, after letters that grow when lowered", testToken, "",
			`{"error_msg":"` + strings.Repeat("Ⱥ", 40) + ` x-security-token:` + testToken[:40] + `"}`},
		{"cut early, after letters that grow when lowered", testToken, "",
			`{"error_msg":"` + strings.Repeat("Ⱥ", 24) + ` x-security-token:` + testToken[:40] + strings.Repeat(".", 60) + `"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newCloud(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
				if test.header != "" {
					w.Header().Set("X-Request-Id", test.header)
				}
				w.WriteHeader(403)
				fmt.Fprint(w, test.body)
			})
			_, err := newClient(t, f.URL, withKey(f, test.token)).read(bounded(t), "c")
			noSecret(t, failure(t, err), testAK, test.token, test.token[:6])
		})
	}
}

// TestErrorsHideMalformedResponses: net/http quotes what it cannot parse.
func TestErrorsHideMalformedResponses(t *testing.T) {
	for name, raw := range map[string]string{
		"no HTTP":            "X " + testToken + "\r\n\r\n",
		"no status":          "HTTP/1.1 " + testToken + "\r\n\r\n",
		"broken header line": "HTTP/1.1 200 OK\r\n" + testToken + "\r\n\r\n",
		"broken header name": "HTTP/1.1 200 OK\r\n" + testToken + " x: y\r\n\r\n",
		"broken length":      "HTTP/1.1 200 OK\r\nContent-Length: " + testToken + "\r\n\r\n",
		"broken encoding":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + testToken + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			f := simtest.New(t, simulator.Options{})
			f.FailReads("", simulator.Fault{Garbage: raw})
			_, err := newClient(t, f.URL, withKey(f, testToken)).read(bounded(t), "c")
			if err == nil && name == "broken header name" { // net/http accepts it, and there is nothing to hide
				return
			}
			e := failure(t, err)
			if e.Reason != cloud.ReasonTransport && e.Reason != cloud.ReasonDecode {
				t.Errorf("got reason %q, want transport or decode", e.Reason)
			}
			noSecret(t, e, testToken, testAK, testToken[:20])
		})
	}
}

// noSecret fails if a secret appears in a text of err.
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
		t.Errorf("a secret is printed by %q: %v", leaks, err)
	}
}
