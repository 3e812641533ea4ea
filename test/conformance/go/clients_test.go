// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/test/conformance/go/fleet"
)

// Environment variables with the paths that ../run installed: python with the SDK, java, and the Java client.
const (
	pythonVariable  = "CSS_VPCEP_CONFORMANCE_PYTHON"
	javaVariable    = "CSS_VPCEP_CONFORMANCE_JAVA"
	classesVariable = "CSS_VPCEP_CONFORMANCE_CLASSES"
)

// processLife is the maximum life of a child process.
const processLife = 8 * time.Minute

// sdk is an SDK of the vendor with its client program.
type sdk struct {
	name    string
	command []string
	byStart bool // pages connections by start
}

// sdks returns all SDKs in the order of the tables. It fails if one is missing.
func sdks(t *testing.T) []sdk {
	t.Helper()
	classes := variable(t, classesVariable)
	return []sdk{
		{"Go", []string{build(t, "client")}, false},
		{"Python", []string{variable(t, pythonVariable), "../python/client.py"}, false},
		// Options for a quick start.
		{"Java", []string{variable(t, javaVariable), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m",
			"-cp", filepath.Join(classes, "classes") + ":" + filepath.Join(classes, "lib", "*"), "Client"}, true},
	}
}

func variable(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set; run `make conformance`, which sets it", name)
	}
	return value
}

// build builds a program of this module and returns its path.
func build(t *testing.T, program string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), program)
	runGo(t, ".", append(append([]string{"build"}, args...), "-o", path, "./"+program)...)
	return path
}

func runGo(t *testing.T, dir string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // the test names the program
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %s\n%s", strings.Join(args, " "), err, out)
	}
}

// start starts a program for at most processLife with only the given environment. It exits at the end of its input or of
// the test.
func start(t *testing.T, command []string, environment ...string) (in io.WriteCloser, out *bufio.Reader) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), processLife)
	cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // the test names the program
	cmd.Env = append([]string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}, environment...)
	cmd.WaitDelay = 10 * time.Second
	said := &bytes.Buffer{}
	cmd.Stderr = said // read after the exit
	in, err1 := cmd.StdinPipe()
	pipe, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // the program may have exited
		_, _ = io.Copy(io.Discard, pipe)
		err := cmd.Wait()
		cancel()
		if err != nil {
			t.Errorf("%s: %s", command[0], err)
		}
		if t.Failed() && said.Len() > 0 {
			t.Logf("output of %s:\n%s", filepath.Base(command[0]), said)
		}
	})
	return in, bufio.NewReader(pipe)
}

// request is a call of a client. Nil parameters are not sent.
type request struct {
	Call     string `json:"call"`
	Endpoint string `json:"endpoint"`
	Project  string `json:"project"`
	Cluster  string `json:"cluster"`
	Skip     *int   `json:"skip"`
	Limit    *int   `json:"limit"`
}

// answer is the result of a call in the common form: a page of connections or clusters, or an error.
type answer struct {
	Error *refusal `json:"error,omitempty"`

	Connections   *[]connection `json:"connections,omitempty"`
	TotalCount    *int          `json:"total_count,omitempty"`
	ServiceName   *string       `json:"vpcServiceName,omitempty"`
	UpdateSwitch  *bool         `json:"vpcepUpdateSwitch,omitempty"`
	Permissions   *[]permission `json:"permissions,omitempty"`
	Clusters      *[]cluster    `json:"clusters,omitempty"`
	TotalClusters *int          `json:"totalSize,omitempty"`
}

// refusal is an error. Status is nil if there was no readable response, Code if the SDK found none.
type refusal struct {
	Status *int    `json:"status"`
	Code   *string `json:"code"`
}

type connection struct {
	ID            *string `json:"id"`
	Status        *string `json:"status"`
	MaxSession    *string `json:"maxSession"`
	Specification *string `json:"specificationName"`
	CreatedAt     *string `json:"created_at"`
	UpdatedAt     *string `json:"update_at"`
	DomainID      *string `json:"domain_id"`
	IP            *string `json:"vpcepIp"`
	IPv6          *string `json:"vpcepIpv6Address"`
	DNSName       *string `json:"vpcepDnsName"`
}

type permission struct {
	ID         *string `json:"id"`
	Permission *string `json:"permission"`
	Type       *string `json:"permission_type"`
	CreatedAt  *string `json:"created_at"`
}

type cluster struct {
	ID                  *string    `json:"id"`
	Name                *string    `json:"name"`
	Status              *string    `json:"status"`
	Datastore           *datastore `json:"datastore"`
	Created             *string    `json:"created"`
	Endpoint            *string    `json:"endpoint"`
	EnterpriseProjectID *string    `json:"enterpriseProjectId"`
	VPCID               *string    `json:"vpcId"`
	Tags                *[]tag     `json:"tags"`
}

type datastore struct {
	Type    *string `json:"type"`
	Version *string `json:"version"`
}

type tag struct {
	Key   *string `json:"key"`
	Value *string `json:"value"`
}

// client is an SDK with its running programs, one for each key.
type client struct {
	sdk
	t         *testing.T
	processes map[simulator.Key]*process
}

type process struct {
	in  io.Writer
	out *bufio.Reader
}

func newClients(t *testing.T) []*client {
	t.Helper()
	var clients []*client
	for _, s := range sdks(t) {
		clients = append(clients, &client{sdk: s, t: t, processes: make(map[simulator.Key]*process)})
	}
	return clients
}

// version returns the version that the SDK reports.
func (c *client) version(t *testing.T) string {
	t.Helper()
	var said struct{ Version string }
	if err := json.Unmarshal(c.line(t, fleet.Given(fleet.Permanent), request{Call: "version"}), &said); err != nil || said.Version == "" {
		t.Fatalf("%s: no version: %v", c.name, err)
	}
	return strings.TrimPrefix(said.Version, "v")
}

// ask sends a request with the key for its project.
func (c *client) ask(t *testing.T, r request) answer {
	t.Helper()
	line := c.line(t, fleet.Given(r.Project), r)
	var a answer
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&a); err != nil {
		t.Fatalf("%s: %s: %.200s", c.name, err, line)
	}
	return a
}

// line sends a request and returns the result as JSON.
func (c *client) line(t *testing.T, key simulator.Key, r request) []byte {
	t.Helper()
	p := c.processes[key]
	if p == nil {
		in, out := start(c.t, c.command,
			"CLOUD_SDK_AK="+key.Access, "CLOUD_SDK_SK="+key.Secret, "CLOUD_SDK_SECURITY_TOKEN="+key.SecurityToken)
		p = &process{in, out}
		c.processes[key] = p
	}
	asked, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(p.in, "%s\n", asked); err != nil {
		t.Fatalf("%s: %s", c.name, err)
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("%s: no answer to %s: %s", c.name, asked, err)
	}
	return line
}

// cloud has the endpoints of the fleet.
type cloud struct{ byOffset, byStart string }

// endpoint returns the endpoint with the paging that the client supports, or the other one.
func (c cloud) endpoint(client *client, other bool) string {
	if client.byStart != other {
		return c.byStart
	}
	return c.byOffset
}
