// SPDX-License-Identifier: Apache-2.0

package app

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"css_vpcep_exporter/internal/diagnose"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"
)

// brokenSetup is a cloud and a configuration of which one thing is wrong.
type brokenSetup struct {
	name     string
	fails    []string // the steps
	says     string   // part of the first one's text
	requests int      // that are sent
	start    func(t *testing.T) (c *testCloud, sent func() int)
}

// countedCloud returns a cloud with the project, and one cluster unless the project lists others.
func countedCloud(t *testing.T, o simulator.Options, p project) (*testCloud, func() int) {
	t.Helper()
	c := newCloud(t, o, p)
	c.addCluster(cmp.Or(p.id, "p1"), "c1", withConnections(12))
	return c, func() int { return len(c.Requests()) }
}

// behind returns a cloud that is served by start, which calls the handler.
func behind(t *testing.T, settings string, serve func(*httptest.Server)) (*testCloud, func() int) {
	t.Helper()
	c := newUnservedCloud(simulator.Options{}, project{settings: settings})
	c.addCluster("p1", "c1", withConnections(12))
	server := httptest.NewUnstartedServer(c)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	serve(server)
	t.Cleanup(server.Close)
	c.URL = server.URL
	return c, func() int { return len(c.Requests()) }
}

// issue returns a self-signed certificate for 127.0.0.1 that ends then, and its PEM.
func issue(t *testing.T, end time.Time) (certificate tls.Certificate, block string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Company CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: end.Add(-48 * time.Hour), NotAfter: end, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func serveWith(certificate *tls.Certificate) func(*httptest.Server) {
	return func(s *httptest.Server) {
		s.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*certificate}}
		s.StartTLS()
	}
}

// rawServer returns a start that serves a text instead of HTTP.
func rawServer(text string) func(t *testing.T) (*testCloud, func() int) {
	return func(t *testing.T) (*testCloud, func() int) {
		t.Helper()
		c := newUnservedCloud(simulator.Options{}, project{})
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Read(make([]byte, 1024))
				_, _ = conn.Write([]byte(text))
				_ = conn.Close()
			}
		}()
		t.Cleanup(func() {
			_ = listener.Close()
			<-done
		})
		c.URL = "http://" + listener.Addr().String()
		return c, func() int { return 0 }
	}
}

// brokenSetups returns those of credentials, the network and the API.
func brokenSetups() []brokenSetup {
	return slices.Concat(brokenCredentials(), brokenNetworks(), brokenAPIs())
}

func brokenCredentials() []brokenSetup {
	const expired = "security-token-that-has-expired"
	return []brokenSetup{
		{"wrong key", []string{"authentication"}, "HTTP 401 APIGW.0301: the credentials were rejected", 2,
			func(t *testing.T) (*testCloud, func() int) {
				return countedCloud(t, simulator.Options{}, project{secretKey: "wrong-secret-key"})
			}},
		{"expired token", []string{"authentication"}, "What to do: The token has expired: check whatever renews it.", 2,
			func(t *testing.T) (*testCloud, func() int) {
				c, sent := countedCloud(t, simulator.Options{}, project{
					auth: "{access_key: TEMPORARY-KEY, secret_key: " + simtest.SecretKey + ", security_token: " + expired + "}",
				})
				c.AddProject(simulator.Project{ID: "p1", Region: simtest.Region, Keys: []simulator.Key{{
					Access: "TEMPORARY-KEY", Secret: simtest.SecretKey, SecurityToken: expired, Expires: time.Now().Add(-time.Minute),
				}}})
				c.addSecret(expired)
				return c, sent
			}},
		{"clock off", []string{"CSS clock", "authentication"}, "The clock of this machine is 59m", 2,
			func(t *testing.T) (*testCloud, func() int) {
				return countedCloud(t, simulator.Options{
					Now: func() time.Time { return time.Now().Add(59*time.Minute + 30*time.Second) },
				}, project{})
			}},
	}
}

func brokenNetworks() []brokenSetup {
	const hint = "certificate of Company CA for 127.0.0.1, valid from "
	return []brokenSetup{
		{"unknown CA", []string{"CSS TLS"}, hint, 0, func(t *testing.T) (*testCloud, func() int) {
			certificate, _ := issue(t, time.Now().Add(time.Hour))
			return behind(t, "", serveWith(&certificate))
		}},
		{"expired certificate", []string{"CSS TLS"}, "certificate has expired at ", 0,
			func(t *testing.T) (*testCloud, func() int) {
				certificate, block := issue(t, time.Now().Add(-time.Hour))
				path := filepath.Join(t.TempDir(), "ca.pem")
				writeFile(t, path, block)
				return behind(t, "tls_config: {ca_file: "+path+"}", serveWith(&certificate))
			}},
		{"wrong endpoint: no such host", []string{"CSS DNS"}, "css.invalid: ", 0,
			func(*testing.T) (*testCloud, func() int) {
				c := newUnservedCloud(simulator.Options{}, project{})
				c.URL = "https://css.invalid"
				return c, func() int { return 0 }
			}},
		{"wrong endpoint: nothing listens", []string{"CSS TCP"}, "connection refused", 0,
			func(t *testing.T) (*testCloud, func() int) {
				c := newUnservedCloud(simulator.Options{}, project{})
				listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				c.URL = "http://" + listener.Addr().String()
				_ = listener.Close()
				return c, func() int { return 0 }
			}},
		{"wrong endpoint: another server", []string{"cluster list"}, "The response is not from the CSS API: check endpoint", 2,
			func(t *testing.T) (*testCloud, func() int) {
				c := newUnservedCloud(simulator.Options{}, project{})
				var sent atomic.Int64
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					sent.Add(1)
					_, _ = w.Write([]byte("<html>It works!</html>"))
				}))
				t.Cleanup(server.Close)
				c.URL = server.URL
				return c, func() int { return int(sent.Load()) }
			}},
		{"wrong endpoint: not HTTP", []string{"CSS HTTP"}, "malformed HTTP response What to do: The response is not HTTP", 0,
			rawServer("SSH-2.0-OpenSSH_9.2p1\r\n")},
		{"closed connections", []string{"CSS HTTP"}, "the connection was closed without a response", 0, rawServer("")},
		{"proxy that refuses", []string{"CSS proxy"}, "the proxy answered 403 Forbidden to CONNECT", 0,
			func(t *testing.T) (*testCloud, func() int) {
				proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.WriteHeader(http.StatusForbidden)
				}))
				t.Cleanup(proxy.Close)
				c := newUnservedCloud(simulator.Options{}, project{settings: "proxy_url: http://user:pass-of-proxy@" +
					strings.TrimPrefix(proxy.URL, "http://")})
				c.addSecret("pass-of-proxy")
				c.URL = "https://css.example"
				return c, func() int { return 0 }
			}},
		{"hanging endpoint", []string{"CSS HTTP"}, "timed out waiting for the answer", 1,
			func(t *testing.T) (*testCloud, func() int) {
				c := newUnservedCloud(simulator.Options{}, project{})
				var sent atomic.Int64
				server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					sent.Add(1)
					<-r.Context().Done()
				}))
				t.Cleanup(server.Close)
				c.URL = server.URL
				return c, func() int { return int(sent.Load()) }
			}},
	}
}

func brokenAPIs() []brokenSetup {
	denied := simulator.Fault{Status: 403, Body: `{"error_code":"APIGW.0302","error_msg":"Not allowed."}`}
	return []brokenSetup{
		{"denied list", []string{"cluster list"}, "Allow css:cluster:list, and for the ", 4, func(t *testing.T) (*testCloud, func() int) {
			c, sent := countedCloud(t, simulator.Options{}, project{})
			c.SetFault(simulator.Target{Endpoint: simulator.Clusters}, denied)
			return c, sent
		}},
		{"denied connections", []string{"connections 1/1"}, "HTTP 403 CSS.0015", 4,
			func(t *testing.T) (*testCloud, func() int) {
				c, sent := countedCloud(t, simulator.Options{}, project{})
				c.FailReads("", simulator.Fault{Status: 403, Body: `{"errCode":"CSS.0015","externalMessage":"No permission."}`})
				return c, sent
			}},
		{"denied lookup", []string{"project ID"}, "Set project_id, or allow the user to list the projects in IAM", 3,
			func(t *testing.T) (*testCloud, func() int) {
				c, sent := countedCloud(t, simulator.Options{}, project{lookUpID: true})
				c.SetFault(simulator.Target{Endpoint: simulator.Projects}, denied)
				return c, sent
			}},
		{"project of another region", []string{"project ID"},
			"p2 is configured, but IAM says that the project of region cn-north-4 is p1", 3,
			func(t *testing.T) (*testCloud, func() int) {
				c, sent := countedCloud(t, simulator.Options{}, project{accessKey: "key-of-account"})
				c.projects = []project{{id: "p2", accessKey: "key-of-account"}}
				return c, sent
			}},
		{"project of another region, without discovery", []string{"project ID", "connections 1/1"},
			"p2 is configured, but IAM says that the project of region cn-north-4 is p1", 4,
			func(t *testing.T) (*testCloud, func() int) {
				c, sent := countedCloud(t, simulator.Options{}, project{accessKey: "key-of-account"})
				c.projects = []project{{id: "p2", accessKey: "key-of-account", clusters: []string{"c1"}}}
				return c, sent
			}},
		{"redirect", []string{"cluster list"}, "What to do: The endpoint redirects: write the address to which it leads into", 3,
			func(t *testing.T) (*testCloud, func() int) {
				c, sent := countedCloud(t, simulator.Options{}, project{})
				c.SetFault(simulator.Target{Endpoint: simulator.Clusters}, simulator.Fault{Status: http.StatusFound})
				return c, sent
			}},
		{"throttled", []string{"cluster list"}, "HTTP 429 APIGW.0308", 2, func(t *testing.T) (*testCloud, func() int) {
			c, sent := countedCloud(t, simulator.Options{}, project{})
			c.SetThrottle(simulator.Target{Endpoint: simulator.WholeProject, ID: "p1"},
				simulator.Throttle{Window: time.Hour, RetryAfter: "60"})
			return c, sent
		}},
		{"hanging list", []string{"cluster list"}, "timed out waiting for the answer", 2,
			func(t *testing.T) (*testCloud, func() int) {
				c, sent := countedCloud(t, simulator.Options{}, project{})
				c.SetFault(simulator.Target{Endpoint: simulator.Clusters}, simulator.Fault{Hang: true})
				return c, sent
			}},
	}
}

func TestDiagnoseFindsWhatIsBroken(t *testing.T) {
	for _, test := range brokenSetups() {
		t.Run(test.name, func(t *testing.T) {
			c, sent := test.start(t)
			start := time.Now()
			d := c.diagnose(t, "--scrape.timeout=3s", "--scrape.timeout-offset=0s")
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("it took %s", took)
			}
			if got := d.named("failed"); !slices.Equal(got, test.fails) {
				t.Errorf("got these steps failed: %q, want %q:\n%s", got, test.fails, d.text)
			}
			first := d.step(test.fails[0])
			if !strings.Contains(first.text, test.says) || !strings.Contains(first.text, "What to do: ") {
				t.Errorf("got %q, want %q in it, and what to do", first.text, test.says)
			}
			if n := sent(); n != test.requests {
				t.Errorf("got %d requests, want %d:\n%s", n, test.requests, d.text)
			}
			t.Logf("| %s | %s | %d | %s |", test.name, strings.Join(test.fails, ", "), sent(), first.text)
		})
	}
}

// TestDiagnoseOfEveryFault: each fault of the simulator makes the step of its request fail, or none, soon and with few
// requests.
func TestDiagnoseOfEveryFault(t *testing.T) {
	alone(t)
	elsewhere := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(elsewhere.Close)
	lists := map[simulator.Endpoint][]string{
		simulator.Connections: {"connections 1/1"},
		simulator.Clusters:    {"authentication", "cluster list", "project ID"},
		simulator.Projects:    {"authentication", "project ID"},
	}
	logins := map[simulator.Endpoint][]string{
		simulator.Tokens:         {"login"},
		simulator.AssumeWithOIDC: {"login"},
		simulator.IDTokens:       {"login"},
		simulator.SecurityTokens: {"login"},
		simulator.AgencyByIAM:    {"agency"},
		simulator.AgencyBySTS:    {"agency"},
		simulator.Sessions:       {"sessions"},
	}
	run := func(name string, all []scenario, endpoints map[simulator.Endpoint][]string) {
		for _, s := range all {
			t.Run(name+"/"+s.name, func(t *testing.T) {
				t.Parallel()
				for endpoint, steps := range endpoints {
					diagnoseFault(t, s, endpoint, steps)
				}
			})
		}
	}
	run("lists", slices.Concat(scenarios(elsewhere.URL), largeScenarios()), lists)
	run("logins", scenarios(elsewhere.URL), logins)
	// All logins are read alike.
	run("logins", largeScenarios(), map[simulator.Endpoint][]string{simulator.Tokens: {"login"}})
}

// diagnoseFault applies a scenario to an endpoint. Only these steps may fail.
func diagnoseFault(t *testing.T, s scenario, endpoint simulator.Endpoint, steps []string) {
	t.Helper()
	p := project{lookUpID: endpoint == simulator.Projects}
	if endpoint == simulator.Tokens {
		p.auth = "{user: {name: reader, domain: company, password: password-of-reader}}"
	}
	c := newCloud(t, simulator.Options{}, p)
	c.SetIdentityProvider(simulator.IdentityProvider{ID: "cluster-idp", URN: oidcProvider, AgencyURN: oidcAgency})
	c.AddAgency(simulator.AccountAgency{Name: "css-reader", DomainName: "company", DomainID: "1"})
	token := c.IDToken("exporter", "", time.Hour)
	c.addSecret(token)
	file := filepath.Join(t.TempDir(), "id-token")
	writeFile(t, file, token)
	switch endpoint {
	case simulator.AssumeWithOIDC:
		c.projects[0].auth = strings.ReplaceAll(oidcBySTS(c.URL), "DIR", filepath.Dir(file))
	case simulator.IDTokens, simulator.SecurityTokens:
		c.projects[0].auth = strings.ReplaceAll(oidcByIAM, "DIR", filepath.Dir(file))
	case simulator.Sessions:
		c.projects[0].settings = c.sessionsOf("")
	case simulator.AgencyByIAM:
		c.projects[0].auth = strings.TrimSuffix(p.withDefaults().auth, "}") +
			", assume_agency: {name: css-reader, domain_name: company}}"
	case simulator.AgencyBySTS:
		c.projects[0].auth = strings.TrimSuffix(strings.ReplaceAll(oidcByIAM, "DIR", filepath.Dir(file)), "}") +
			", assume_agency: {name: css-reader, domain_id: '1', sts_endpoint: '" + c.URL + "'}}"
	}
	c.AddUser(simulator.User{Name: "reader", Domain: "company", Password: "password-of-reader"})
	c.addSecret("password-of-reader")
	c.AddCluster("p1", withThreeConnections("c1"))
	c.addCluster("p1", "being-created", func(c *simulator.Cluster) { c.Status = "100" })
	if s.change != nil {
		c.UpdateCluster("c1", s.change)
	}
	c.SetFault(simulator.Target{Endpoint: endpoint}, s.faults...)
	timeout := 10 * time.Second // reached only by what hangs
	if s.reason == "timeout" {
		timeout = 2 * time.Second
	}
	start := time.Now()
	d := c.diagnose(t, "--scrape.timeout="+timeout.String(), "--scrape.timeout-offset=0s")
	if took := time.Since(start); took > time.Duration(diagnose.MaxRequests)*2*timeout {
		t.Errorf("%s: it took %s", endpoint, took)
	}
	for _, name := range d.named("failed") {
		if !slices.Contains(steps, name) && name != "scrape timeout" { // a slow read may need more than 1 s
			t.Errorf("%s: step %s has failed, want only %q:\n%s", endpoint, name, steps, d.text)
		}
	}
	first := !slices.ContainsFunc(s.faults, func(f simulator.Fault) bool { return f.After > 0 }) // fails the first request
	if endpoint == simulator.Sessions && s.reason != "" && s.name != "missing" && first &&
		d.step("sessions").state != "failed" {
		t.Errorf("%s: step sessions has not failed:\n%s", endpoint, d.text)
	}
	if endpoint == simulator.Connections && s.reason != "" && s.name != "missing" && d.step(steps[0]).state != "failed" {
		t.Errorf("%s: step %s has not failed:\n%s", endpoint, steps[0], d.text)
	}
	if endpoint == simulator.Connections && s.reason == "" && len(s.faults) == 0 && d.step(steps[0]).state != "ok" {
		t.Errorf("%s: step %s has failed:\n%s", endpoint, steps[0], d.text)
	}
}
