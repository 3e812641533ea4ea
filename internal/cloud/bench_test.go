// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func BenchmarkSign(b *testing.B) {
	req := httptest.NewRequestWithContext(b.Context(), http.MethodGet,
		"/v1.0/p1/clusters/5c77b71c-5b35-4f50-8984-76387e42451a/vpcepservice/connections?limit=1000", nil)
	req.Header.Set("X-Project-Id", "p1")
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b.ReportAllocs()
	for b.Loop() {
		sign(req, nil, testAK, testSK, now, "X-Project-Id", "X-Security-Token")
	}
}
