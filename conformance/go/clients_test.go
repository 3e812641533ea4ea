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

	"css_vpcep_exporter/conformance/go/fleet"
	"css_vpcep_exporter/simulator"
)

// The variables that say what ../run has installed: a python with the SDK, a java, and the folder of the Java client.
const (
	pythonVariable  = "CSS_VPCEP_CONFORMANCE_PYTHON"
	javaVariable    = "CSS_VPCEP_CONFORMANCE_JAVA"
	classesVariable = "CSS_VPCEP_CONFORMANCE_CLASSES"
)

// processLife is how long a child process lives at most, whatever happens.
const processLife = 8 * time.Minute

// sdk is a vendor's SDK with the program that uses it.
type sdk struct {
	name    string
	command []string
	byStart bool // it knows the API in which connections are paged by start
}

// sdks are all of them, in the order of the tables. A missing one is a failure.
func sdks(t *testing.T) []sdk {
	t.Helper()
	classes := variable(t, classesVariable)
	return []sdk{
		{"Go", []string{build(t, "client")}, false},
		{"Python", []string{variable(t, pythonVariable), "../python/client.py"}, false},
		// Starts quickly, and has little to do.
		{"Java", []string{variable(t, javaVariable), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m",
			"-cp", filepath.Join(classes, "classes") + ":" + filepath.Join(classes, "lib", "*"), "Client"}, true},
	}
}

func variable(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: run `make conformance`, which installs what these tests need", name)
	}
	return value
}

// build makes a program of this module.
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
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // the test says what runs
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %s\n%s", strings.Join(args, " "), err, out)
	}
}

// start starts a program for at most processLife, with nothing of our environment but what is given. It ends when its input
// does, and with the test.
func start(t *testing.T, command []string, environment ...string) (in io.WriteCloser, out *bufio.Reader) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), processLife)
	cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // the test says what runs
	cmd.Env = append([]string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}, environment...)
	cmd.WaitDelay = 10 * time.Second
	said := &bytes.Buffer{}
	cmd.Stderr = said // read after the end
	in, err1 := cmd.StdinPipe()
	pipe, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // the program may have ended
		_, _ = io.Copy(io.Discard, pipe)
		err := cmd.Wait()
		cancel()
		if err != nil {
			t.Errorf("%s: %s", command[0], err)
		}
		if t.Failed() && said.Len() > 0 {
			t.Logf("%s said:\n%s", filepath.Base(command[0]), said)
		}
	})
	return in, bufio.NewReader(pipe)
}

// request is one call of a client. Nil is left to the API's default.
type request struct {
	Call     string `json:"call"`
	Endpoint string `json:"endpoint"`
	Project  string `json:"project"`
	Cluster  string `json:"cluster"`
	Skip     *int   `json:"skip"`
	Limit    *int   `json:"limit"`
}

// answer is what a client has read, in the form that all share. It is a page of connections, or of clusters, or an error.
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

// refusal has no status where no answer came or it could not be read, and no code where the SDK found none.
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

// client is an SDK whose program runs, once for each key.
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

// version is that of the SDK, as it says itself.
func (c *client) version(t *testing.T) string {
	t.Helper()
	var said struct{ Version string }
	if err := json.Unmarshal(c.line(t, fleet.Given(fleet.Permanent), request{Call: "version"}), &said); err != nil || said.Version == "" {
		t.Fatalf("%s: no version: %v", c.name, err)
	}
	return strings.TrimPrefix(said.Version, "v")
}

// ask makes a call with the key that is given for its project.
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

// line makes a call and gives the answer as it was written.
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

// cloud is where the fleet is served.
type cloud struct{ byOffset, byStart string }

// endpoint is the one whose API the client knows, or the other one.
func (c cloud) endpoint(client *client, other bool) string {
	if client.byStart != other {
		return c.byStart
	}
	return c.byOffset
}
