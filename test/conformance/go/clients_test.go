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

// Environment variables that ../run sets: the paths of python with the SDK, of java, and of the Java client.
const (
	pythonVariable  = "CSS_VPCEP_CONFORMANCE_PYTHON"
	javaVariable    = "CSS_VPCEP_CONFORMANCE_JAVA"
	classesVariable = "CSS_VPCEP_CONFORMANCE_CLASSES"
)

const maxRuntime = 8 * time.Minute // of a child process

// sdk is an SDK of the vendor with its client program.
type sdk struct {
	name    string
	command []string
	byStart bool // pages connections by start
}

// sdks returns the SDKs in the order of the tables.
func sdks(t *testing.T) []sdk {
	t.Helper()
	java := requireEnv(t, classesVariable)
	classPath := filepath.Join(java, "classes") + ":" + filepath.Join(java, "lib", "*")
	return []sdk{
		{"Go", []string{buildProgram(t, "client")}, false},
		{"Python", []string{requireEnv(t, pythonVariable), "../python/client.py"}, false},
		{"Java", []string{
			requireEnv(t, javaVariable), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m", // start quickly
			"-cp", classPath, "Client",
		}, true},
	}
}

func requireEnv(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set; run `make conformance`, which sets it", name)
	}
	return value
}

// buildProgram builds a program of this module and returns its path.
func buildProgram(t *testing.T, program string, args ...string) string {
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

// startProgram starts a program with only the given environment. At the end of the test its input is closed, and the
// test fails unless it exits with 0.
func startProgram(t *testing.T, command []string, environment ...string) (in io.Writer, out *bufio.Reader) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), maxRuntime)
	cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // the test names the program
	cmd.Env = append([]string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}, environment...)
	cmd.WaitDelay = 10 * time.Second
	stderr := &bytes.Buffer{} // read after Wait
	cmd.Stderr = stderr
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close() // fails if the program has exited
		_, _ = io.Copy(io.Discard, stdout)
		err := cmd.Wait()
		cancel()
		if err != nil {
			t.Errorf("%s: %s", command[0], err)
		}
		if t.Failed() && stderr.Len() > 0 {
			t.Logf("output of %s:\n%s", filepath.Base(command[0]), stderr)
		}
	})
	return stdin, bufio.NewReader(stdout)
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

// answer is the result of a call in the format of all clients: a page of connections or clusters, or an error.
type answer struct {
	Error *apiError `json:"error,omitempty"`

	Connections   *[]connection `json:"connections,omitempty"`
	TotalCount    *int          `json:"total_count,omitempty"`
	ServiceName   *string       `json:"vpcServiceName,omitempty"`
	UpdateSwitch  *bool         `json:"vpcepUpdateSwitch,omitempty"`
	Permissions   *[]permission `json:"permissions,omitempty"`
	Clusters      *[]cluster    `json:"clusters,omitempty"`
	TotalClusters *int          `json:"totalSize,omitempty"`
}

// apiError is an error. Status is nil if the response is not readable, Code if the SDK has found none.
type apiError struct {
	Status *int    `json:"status"`
	Code   *string `json:"code"`
}

func newError(status int, code string) *apiError { return &apiError{&status, &code} }

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

// client is an SDK with its processes.
type client struct {
	sdk
	t         *testing.T
	processes map[simulator.Key]*process // a process uses one key
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
	var answer struct{ Version string }
	line := c.callJSON(t, request{Call: "version", Project: fleet.Permanent})
	if err := json.Unmarshal(line, &answer); err != nil || answer.Version == "" {
		t.Fatalf("%s: no version: %v: %.200s", c.name, err, line)
	}
	return strings.TrimPrefix(answer.Version, "v")
}

// call returns the result of a call with the key for its project.
func (c *client) call(t *testing.T, r request) answer {
	t.Helper()
	line := c.callJSON(t, r)
	var a answer
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&a); err != nil {
		t.Fatalf("%s: %s: %.200s", c.name, err, line)
	}
	return a
}

// callJSON returns the result as JSON.
func (c *client) callJSON(t *testing.T, r request) []byte {
	t.Helper()
	key := fleet.ClientKey(r.Project)
	p := c.processes[key]
	if p == nil {
		in, out := startProgram(c.t, c.command,
			"CLOUD_SDK_AK="+key.Access, "CLOUD_SDK_SK="+key.Secret, "CLOUD_SDK_SECURITY_TOKEN="+key.SecurityToken)
		p = &process{in, out}
		c.processes[key] = p
	}
	call, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(p.in, "%s\n", call); err != nil {
		t.Fatalf("%s: %s", c.name, err)
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("%s: no result of %s: %s", c.name, call, err)
	}
	return line
}

// endpoints has the URLs of two fleets, whose connections are paged by offset and by start.
type endpoints struct{ byOffset, byStart string }

// withPagingOf returns the endpoint with the paging that the client supports.
func (e endpoints) withPagingOf(c *client) string {
	if c.byStart {
		return e.byStart
	}
	return e.byOffset
}

// withOtherPaging returns the endpoint with the paging that the client does not support.
func (e endpoints) withOtherPaging(c *client) string {
	if c.byStart {
		return e.byOffset
	}
	return e.byStart
}
