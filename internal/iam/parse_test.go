// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"runtime"
	"strings"
	"testing"
)

// TestParsingIsBounded: a body of the maximum size does not cost many times its size.
func TestParsingIsBounded(t *testing.T) {
	const element = `{"id":"1","name":"n"},`
	body := []byte(`{"projects":[` + strings.Repeat(element, 16<<20/len(element)-1) + `{}]}`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := parseProjects(body, "n")
	_, _, errAccount := parseAccount(body)
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 200<<20 {
		t.Errorf("%d MiB were allocated for a body of 16 MiB (errors %v, %v)", used>>20, err, errAccount)
	}
}
