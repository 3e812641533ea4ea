// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/simulator"
	"css_vpcep_exporter/internal/simulator/simtest"

	"github.com/google/go-cmp/cmp"
)

// withoutTime returns options of a handler that omits the time.
func withoutTime() *slog.HandlerOptions {
	return &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}
}

// TestChangedResultsAreLogged checks that the first result, changes of the reason and recovery are logged, and repeated
// results are not.
func TestChangedResultsAreLogged(t *testing.T) {
	simulated := simtest.NewUnserved(simulator.Options{})
	simulated.Add("c1")
	var log strings.Builder
	fleet := NewFleet([]Project{
		newProject(simulated, simtest.ProjectID, &Search{RefreshInterval: time.Hour}),
	}, slog.New(slog.NewTextHandler(&log, withoutTime())))
	for _, fault := range []simulator.Fault{
		{},
		{Status: 403, Body: `{"errCode":"CSS.0051","externalMessage":"No."}`, Header: http.Header{"X-Request-Id": {"r1"}}},
		{Status: 500, Header: http.Header{"X-Request-Id": {"r2"}}},
		{Body: `{"totalSize":3,"clusters":[]}`},
		{Body: "["},
		{},
	} {
		failDiscovery(simulated, fault)
		for range 2 {
			if err := fleet.Refresh(t.Context()); (err != nil) != (fault.Status != 0 || fault.Body != "") {
				t.Fatalf("%+v: got error %v", fault, err)
			}
		}
	}
	const succeeded = `level=INFO msg="Discovery succeeded" project=production region=cn-north-4 clusters=1`
	const failed = `level=WARN msg="Discovery failed" project=production region=cn-north-4 `
	want := []string{
		succeeded,
		failed + `reason=denied code=CSS.0051 request_id=r1 hint="`,
		failed + `reason=server request_id=r2 hint="`,
		failed + `reason=incomplete hint="clusters may be missing; those found before are kept until three lists in a row ` +
			`lack them" err="the cluster list is incomplete: 0 of 3"`,
		failed + `reason=decode hint="`,
		succeeded,
	}
	lines := slices.Collect(strings.Lines(log.String()))
	if len(lines) != len(want) {
		t.Fatalf("got %d lines, want %d:\n%s", len(lines), len(want), log.String())
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, want[i]) || strings.Contains(line, "WARN") && !strings.Contains(line, " err=") {
			t.Errorf("line %d:\n got %swant %s", i, line, want[i])
		}
	}
}

// TestChangedLookupsAreLogged does the same for a project without discovery, whose first success is not logged.
func TestChangedLookupsAreLogged(t *testing.T) {
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, withoutTime()))
	failed := (&cloud.Error{Reason: cloud.ReasonNotFound, Operation: "projects", Status: 404}).WithHint("check iam_endpoint")
	p := &project{Project: &Project{}}
	for _, err := range []error{nil, nil, context.DeadlineExceeded, failed, failed, nil, nil} {
		p.recordResult(err, logger)
	}
	const want = `level=WARN msg="Project ID lookup failed" reason=timeout err="context deadline exceeded"
level=WARN msg="Project ID lookup failed" reason=not_found hint="check iam_endpoint" err="projects: HTTP 404"
level=INFO msg="Project ID lookup succeeded"
`
	if diff := cmp.Diff(want, log.String()); diff != "" {
		t.Errorf("log (-want +got)\n%s", diff)
	}
}

// TestFailingProjectIsLoggedLikeAFailingCluster reads the log lines of a running Fleet whose project is first denied,
// then throttled, and recovers.
func TestFailingProjectIsLoggedLikeAFailingCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		simulated := simtest.NewUnserved(simulator.Options{})
		simulated.Add("c1")
		var log bytes.Buffer
		fleet := NewFleet([]Project{
			newProject(simulated, simtest.ProjectID, &Search{RefreshInterval: time.Minute}),
		}, slog.New(slog.NewJSONHandler(&log, withoutTime())))
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { fleet.Run(ctx) })
		synctest.Wait()
		for i, fault := range []simulator.Fault{
			{Status: 403, Body: `{"errCode":"CSS.0051","externalMessage":"No."}`, Header: http.Header{"X-Request-Id": {"r1"}}},
			{Status: 429, Body: `{"error_code":"APIGW.0308","error_msg":"Slow."}`, Header: http.Header{"X-Request-Id": {"r2"}}},
			{},
		} {
			before := simulated.Requested(simulator.Clusters)
			failDiscovery(simulated, fault)
			time.Sleep(5 * time.Minute)
			if n := simulated.Requested(simulator.Clusters) - before; n < 2 {
				t.Errorf("fault %d: got %d refreshes, want several", i, n)
			}
		}
		cancel()
		run.Wait()

		var got []map[string]any
		for decoder := json.NewDecoder(&log); decoder.More(); {
			var line map[string]any
			if err := decoder.Decode(&line); err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{"hint", "err"} { // their words are those of another package
				if text, ok := line[key].(string); ok && text != "" {
					line[key] = "text"
				}
			}
			got = append(got, line)
		}
		succeeded := map[string]any{
			"level": "INFO", "msg": "Discovery succeeded", "project": "production", "region": simtest.Region, "clusters": 1.0,
		}
		failed := func(reason, code, requestID string) map[string]any {
			return map[string]any{
				"level": "WARN", "msg": "Discovery failed", "project": "production", "region": simtest.Region,
				"reason": reason, "code": code, "request_id": requestID, "hint": "text", "err": "text",
			}
		}
		want := []map[string]any{
			succeeded, failed("denied", "CSS.0051", "r1"), failed("throttled", "APIGW.0308", "r2"), succeeded,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("log (-want +got)\n%s", diff)
		}
	})
}
