// SPDX-License-Identifier: Apache-2.0

package ces

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"css_vpcep_exporter/internal/cloud"
)

func TestQueriesStayWithinTheLimits(t *testing.T) {
	for n := 1; n <= MaxMetrics; n++ {
		metrics := make([]Metric, n)
		for i := range metrics {
			metrics[i] = Metric{ActiveSessions, strings.Repeat("x", maxIDLength-4) + fmt.Sprintf("%04d", i)}
		}
		body := requestBody(metrics, now())
		var q struct {
			Metrics []struct {
				Namespace  string
				MetricName string `json:"metric_name"`
				Dimensions []struct{ Name, Value string }
			}
			Period, Filter string
			From, To       int64
		}
		if err := json.Unmarshal(body, &q); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		minutes := time.Duration(q.To-q.From) * time.Millisecond / time.Minute
		if len(body) > 512<<10 || len(q.Metrics) != n || minutes < 6 || minutes > 10 || int(minutes)*n > 3000 {
			t.Fatalf("%d metrics: got %d bytes, %d metrics and %d minutes", n, len(body), len(q.Metrics), minutes)
		}
		m := q.Metrics[n-1]
		if m.Namespace != "SYS.VPCEP" || m.MetricName != "vpcep_act_connections" || len(m.Dimensions) != 1 ||
			m.Dimensions[0].Name != "ep_instance_id" || m.Dimensions[0].Value != metrics[n-1].EndpointID ||
			q.Period != "1" || q.Filter != "average" || q.To != now().UnixMilli() {
			t.Fatalf("got %+v of %+v", m, q)
		}
	}
}

func TestAskable(t *testing.T) {
	for id, want := range map[string]bool{
		"54b7f739-31a1-40d0-862b-000000000001": true, "a": true, "_x.-/#()": true, "*a": true,
		strings.Repeat("x", 256): true, strings.Repeat("x", 257): false,
		"": false, "-a": false, ".a": false, "a*": false, `a"`: false, "a\\": false, "a b": false, "端": false, "a\n": false,
	} {
		if got := Askable(id); got != want {
			t.Errorf("%q: got %t, want %t", id, got, want)
		}
	}
}

func TestHintOnBatchSize(t *testing.T) {
	for metrics, want := range map[int]bool{10: false, 11: true, 500: true} {
		got := service{metrics: metrics}.Hint(&cloud.Error{Reason: cloud.ReasonInvalid, Status: 400})
		if strings.Contains(got, "batch_size") != want {
			t.Errorf("%d metrics in a call: got the hint %q", metrics, got)
		}
	}
}

func TestHintOnWaiting(t *testing.T) {
	for spare, want := range map[bool]string{false: "raise --scrape.timeout", true: "raise requests_per_second"} {
		got := service{spare: spare}.Hint(&cloud.Error{Reason: cloud.ReasonTimeout})
		if !strings.HasPrefix(got, want) {
			t.Errorf("spare %t: got the hint %q, want %q", spare, got, want)
		}
	}
}

func TestHints(t *testing.T) {
	for reason, want := range map[cloud.Reason]string{
		cloud.ReasonDenied:    "ces:metricData:list",
		cloud.ReasonNotFound:  "sessions.endpoint",
		cloud.ReasonThrottled: "backs off",
		cloud.ReasonDecode:    "not from Cloud Eye",
	} {
		if got := (service{}).Hint(&cloud.Error{Reason: reason}); !strings.Contains(got, want) {
			t.Errorf("%s: got the hint %q, want %q in it", reason, got, want)
		}
	}
}
