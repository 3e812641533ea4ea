// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"css_vpcep_exporter/internal/cloud"
)

// TestHintsOfTheSetUpNameDiagnose in the log: a diagnosis shows the hints without that.
func TestHintsOfTheSetUpNameDiagnose(t *testing.T) {
	setUp := []cloud.Reason{cloud.ReasonAuth, cloud.ReasonDenied, cloud.ReasonTransport}
	for _, reason := range cloud.Reasons() {
		err := &cloud.Error{Reason: reason}
		logged := fmt.Sprint(cloud.LogFields(err)...)
		if got := strings.Contains(logged, "; --diagnose walks through the checks"); got != slices.Contains(setUp, reason) {
			t.Errorf("%s: got %s", reason, logged)
		}
		if strings.Contains(err.Hint(), "--diagnose") {
			t.Errorf("%s: got the hint %s", reason, err.Hint())
		}
	}
}
