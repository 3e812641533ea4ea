// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testProject = "proj1"
	testCluster = "c1"
	testAccess  = "AKEXAMPLE"
	testSecret  = "secret-example-0123456789"

	connectionsPath = "/v1.0/proj1/clusters/c1/vpcepservice/connections"
)

// testNow returns the time of the known signature.
func testNow() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// newTestSimulator returns a simulator with one project and one cluster.
func newTestSimulator(o Options) *Simulator {
	if o.Now == nil {
		o.Now = testNow
	}
	s := New(o)
	s.AddProject(Project{Name: "one", Region: "cn-north-4", ID: testProject,
		Keys: []Key{{Access: testAccess, Secret: testSecret}}})
	s.AddCluster(testProject, Cluster{ID: testCluster, Name: "first", Status: "200"})
	return s
}

// signedRequest returns a GET request that is signed with the test key.
func signedRequest(ctx context.Context, base, target string) *http.Request {
	return signedRequestBy(ctx, Key{Access: testAccess, Secret: testSecret}, testNow(), base, target)
}

// signedRequestBy signs without the code of sign.go. Paths and queries must be in canonical form.
func signedRequestBy(ctx context.Context, key Key, at time.Time, base, target string) *http.Request {
	req := httptest.NewRequestWithContext(ctx, http.MethodGet, base+target, http.NoBody)
	req.RequestURI = ""
	date := at.UTC().Format("20060102T150405Z")
	req.Header.Set("X-Sdk-Date", date)
	headers, names := "x-sdk-date:"+date+"\n", "x-sdk-date"
	if key.SecurityToken != "" {
		req.Header.Set("X-Security-Token", key.SecurityToken)
		headers, names = headers+"x-security-token:"+key.SecurityToken+"\n", names+";x-security-token"
	}
	path, query, _ := strings.Cut(target, "?")
	empty := sha256.Sum256(nil)
	canonicalRequest := "GET\n" + path + "/\n" + query + "\n" + headers + "\n" + names + "\n" +
		hex.EncodeToString(empty[:])
	hash := sha256.Sum256([]byte(canonicalRequest))
	mac := hmac.New(sha256.New, []byte(key.Secret))
	_, _ = io.WriteString(mac, "SDK-HMAC-SHA256\n"+date+"\n"+hex.EncodeToString(hash[:]))
	req.Header.Set("Authorization",
		"SDK-HMAC-SHA256 Access="+key.Access+", SignedHeaders="+names+", Signature="+hex.EncodeToString(mac.Sum(nil)))
	return req
}

// clock is advanced by tests.
type clock struct{ passed time.Duration }

func (c *clock) now() time.Time { return testNow().Add(c.passed) }

// get calls the handler without a network.
func get(t *testing.T, s *Simulator, target string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, signedRequest(t.Context(), "http://css.test", target))
	return w
}

// page is a page of connections or of clusters.
type page struct {
	Connections []struct{ ID string }
	Clusters    []struct{ ID string }
	TotalCount  int `json:"total_count"`
	TotalSize   int `json:"totalSize"`
}

func getPage(t *testing.T, s *Simulator, target string) page {
	t.Helper()
	w := get(t, s, target)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: got status %d, want 200; body: %s", target, w.Code, w.Body)
	}
	var p page
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p page) ids() string {
	var out []string
	for _, x := range append(p.Connections, p.Clusters...) {
		out = append(out, x.ID)
	}
	return strings.Join(out, " ")
}

func startServer(t *testing.T, s *Simulator) *Server {
	t.Helper()
	srv, err := s.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := srv.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return srv
}

func newClient(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

// eventually waits until ok returns true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 10_000 {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("timed out waiting for %s", what)
}
