// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// TestGoldenExpositions reads each body of testdata/golden with the real client and compares the exposition. seed.json
// is the example of the API documentation of 2025-08-15; each other body has one variant of a field, from other
// versions of the documentation, older regions or related services. Only seed.prom has HELP and TYPE lines.
func TestGoldenExpositions(t *testing.T) {
	bodies, err := filepath.Glob("testdata/golden/*.json")
	if err != nil || len(bodies) < 20 {
		t.Fatalf("got %d bodies, want at least 20: %v", len(bodies), err)
	}
	for _, path := range bodies {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		t.Run(name, func(t *testing.T) {
			body, err := os.ReadFile(path) //nolint:gosec // of testdata
			if err != nil {
				t.Fatal(err)
			}
			cloud := newCloud("c1")
			cloud.FailReads("c1", fault{Body: string(body)})
			list, err := cloud.client.Connections(t.Context(), "c1", nil)
			if err != nil {
				t.Fatal(err)
			}
			got := exposition(t, newCollector(
				[]Outcome{{Target: newTarget(), List: list, ReadAt: readAt, Duration: 1500 * time.Millisecond}},
				Options{Connections: true, Permissions: true, MaxConnections: 2000},
			))
			if name != "seed" {
				got = withoutComments(got)
			}
			for _, field := range slices.Sorted(maps.Keys(list.Unparsable)) {
				got += fmt.Sprintf("# unparsable %s: %d\n", field, list.Unparsable[field])
			}
			want, err := os.ReadFile(strings.TrimSuffix(path, ".json") + ".prom")
			if err != nil {
				t.Error(err)
			}
			if diff := gocmp.Diff(string(want), got); diff != "" {
				t.Errorf("exposition (-want +got)\n%s", diff)
			}
		})
	}
}
