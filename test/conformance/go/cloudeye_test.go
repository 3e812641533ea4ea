// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"css_vpcep_exporter/internal/ces"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/credentials"
	exporteriam "css_vpcep_exporter/internal/iam"
	"css_vpcep_exporter/internal/simulator"

	"github.com/google/go-cmp/cmp"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	sdkces "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/ces/v1"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/ces/v1/model"
)

const cloudEyeProject = "0123456789abcdef0123456789abcdef"

// cloudEye is a simulated Cloud Eye that records the bodies of requests.
type cloudEye struct {
	*simulator.Simulator
	url string

	mu     sync.Mutex
	bodies [][]byte
}

func newCloudEye(t *testing.T) *cloudEye {
	t.Helper()
	c := &cloudEye{Simulator: simulator.New(simulator.Options{})}
	c.AddProject(simulator.Project{ID: cloudEyeProject, Region: "cn-north-4", Keys: []simulator.Key{
		{Access: callerAccess, Secret: callerSecret},
	}})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		c.mu.Lock()
		c.bodies = append(c.bodies, body)
		c.mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(body))
		c.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

// takeBody returns the body of the only request since the last call.
func (c *cloudEye) takeBody(t *testing.T) []byte {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.bodies) != 1 {
		t.Fatalf("got %d requests, want 1", len(c.bodies))
	}
	body := c.bodies[0]
	c.bodies = nil
	return body
}

// queryWithExporter returns the newest value of each metric.
func (c *cloudEye) queryWithExporter(t *testing.T, metrics []ces.Metric) ([]ces.Value, error) {
	t.Helper()
	transport := cloud.NewTransport(nil, nil)
	defer transport.CloseIdleConnections()
	client := cloud.NewClient(cloud.Options{
		Region: "cn-north-4", UserAgent: "test/1", Keys: cloud.NewKeys(), Retry: cloud.Retry{Tries: 1}, Transport: transport,
		Credentials: credentials.NewFiles(
			cloud.Credentials{AccessKey: callerAccess, SecretKey: callerSecret}, cloud.Credentials{}),
	})
	project := exporteriam.NewProject(client, c.url, "cn-north-4", cloudEyeProject)
	values, _, err := ces.NewClient(client, c.url, project, func(map[string]int) {}).Query(t.Context(), metrics, false)
	return values, err
}

func (c *cloudEye) sdkClient(t *testing.T) *sdkces.CesClient {
	t.Helper()
	key, err := basic.NewCredentialsBuilder().
		WithAk(callerAccess).WithSk(callerSecret).WithProjectId(cloudEyeProject).SafeBuild()
	if err != nil {
		t.Fatal(err)
	}
	client, err := sdkces.CesClientBuilder().WithEndpoints([]string{c.url}).WithCredential(key).
		WithHttpConfig(sdkTransport(t)).SafeBuild()
	if err != nil {
		t.Fatal(err)
	}
	return sdkces.NewCesClient(client)
}

// queryWithSDK returns the newest value of each metric.
func (c *cloudEye) queryWithSDK(t *testing.T, metrics []ces.Metric, minutes int) ([]ces.Value, error) {
	t.Helper()
	request := sdkQuery(metrics, minutes)
	response, err := c.sdkClient(t).BatchListMetricData(&model.BatchListMetricDataRequest{Body: &request})
	if err != nil {
		return nil, err
	}
	values := make([]ces.Value, len(metrics))
	if response.Metrics == nil {
		return values, nil
	}
	for _, m := range *response.Metrics {
		for i := range metrics {
			asked := request.Metrics[i]
			if m.MetricName != asked.MetricName || m.Dimensions == nil || len(*m.Dimensions) != 1 ||
				*(*m.Dimensions)[0].Value != asked.Dimensions[0].Value {
				continue
			}
			for _, d := range m.Datapoints {
				if at := time.UnixMilli(d.Timestamp); d.Average != nil && at.After(values[i].At) {
					values[i] = ces.Value{Value: *d.Average, At: at}
				}
			}
		}
	}
	return values, nil
}

// sdkQuery returns a query of the SDK for the last minutes.
func sdkQuery(metrics []ces.Metric, minutes int) model.BatchListMetricDataRequestBody {
	names := map[ces.Kind]string{ces.Sessions: "vpcep_connections", ces.ActiveSessions: "vpcep_act_connections"}
	period, filter := model.GetBatchPeriodEnum().E_1, model.GetFilterEnum().AVERAGE
	to := time.Now().UnixMilli()
	request := model.BatchListMetricDataRequestBody{
		Period: &period, Filter: &filter, From: to - int64(minutes)*time.Minute.Milliseconds(), To: to,
	}
	for _, m := range metrics {
		request.Metrics = append(request.Metrics, model.MetricInfo{
			Namespace: "SYS.VPCEP", MetricName: names[m.Kind],
			Dimensions: []model.MetricsDimension{{Name: "ep_instance_id", Value: m.EndpointID}},
		})
	}
	return request
}

func bothMetrics(endpoints int) (metrics []ces.Metric) {
	for i := range endpoints {
		id := fmt.Sprintf("%08x-31a1-40d0-862b-ac85b83ab2da", i)
		for _, kind := range []ces.Kind{ces.Sessions, ces.ActiveSessions} {
			metrics = append(metrics, ces.Metric{Kind: kind, EndpointID: id})
		}
	}
	return metrics
}

// TestSDKQueriesCloudEye compares the requests of the SDK and of the exporter, and the values that they read. The
// simulator accepts both signatures, and neither query asks for more values than Cloud Eye returns.
func TestSDKQueriesCloudEye(t *testing.T) {
	for _, tc := range []struct{ endpoints, minutes int }{{1, 10}, {150, 10}, {151, 9}, {250, 6}} {
		c := newCloudEye(t)
		metrics := bothMetrics(tc.endpoints)
		for i, m := range metrics {
			if i/2%7 != 6 { // some have no values
				c.SetSessions(m.EndpointID, simulator.DailySessions(m.EndpointID, 100, 3000))
			}
		}
		bySDK, err := c.queryWithSDK(t, metrics, tc.minutes)
		if err != nil {
			t.Fatal(err)
		}
		sdkBody := c.takeBody(t)
		byExporter, err := c.queryWithExporter(t, metrics)
		if err != nil {
			t.Fatal(err)
		}
		checkNewestValues(t, metrics, bySDK, byExporter)
		checkSameQuery(t, sdkBody, c.takeBody(t))
		for _, r := range c.Requests() {
			if r.Endpoint != simulator.Sessions || r.Method != http.MethodPost || r.Status != http.StatusOK ||
				r.FromMoved || r.Metrics != len(metrics) {
				t.Errorf("%d endpoints: got request %+v", tc.endpoints, r)
			}
		}
	}
}

// checkNewestValues does not compare the times of values, because a minute may pass between the two queries.
func checkNewestValues(t *testing.T, metrics []ces.Metric, bySDK, byExporter []ces.Value) {
	t.Helper()
	with := 0
	for i, m := range metrics {
		for who, v := range map[string]ces.Value{"the SDK": bySDK[i], "the exporter": byExporter[i]} {
			if v.At.IsZero() {
				if v.Value != 0 {
					t.Errorf("%s: got %g without a time", who, v.Value)
				}
				continue
			}
			with++
			want, active, ok := simulator.DailySessions(m.EndpointID, 100, 3000)(v.At)
			if m.Kind == ces.ActiveSessions {
				want = active
			}
			if !ok || v.Value != want || time.Since(v.At) > 5*time.Minute {
				t.Errorf("%s: got %g at %s, want %g", who, v.Value, v.At, want)
			}
		}
		if bySDK[i].At.IsZero() != byExporter[i].At.IsZero() {
			t.Errorf("%+v: the SDK got %+v, the exporter %+v", m, bySDK[i], byExporter[i])
		}
	}
	if with == 0 || len(metrics) > 2 && with == 2*len(metrics) {
		t.Errorf("got %d of %d values, want some", with, 2*len(metrics))
	}
}

// checkSameQuery compares two bodies, and the exporter's with the model of the SDK.
func checkSameQuery(t *testing.T, bySDK, byExporter []byte) {
	t.Helper()
	var theirs, ours map[string]any
	var strict model.BatchListMetricDataRequestBody
	decoder := json.NewDecoder(bytes.NewReader(byExporter))
	decoder.DisallowUnknownFields()
	if err := errors.Join(
		json.Unmarshal(bySDK, &theirs), json.Unmarshal(byExporter, &ours), decoder.Decode(&strict)); err != nil {
		t.Fatal(err)
	}
	length := func(m map[string]any) any {
		from, ok1 := m["from"].(float64)
		to, ok2 := m["to"].(float64)
		delete(m, "from")
		delete(m, "to")
		if !ok1 || !ok2 || time.Since(time.UnixMilli(int64(to))).Abs() > time.Minute {
			t.Errorf("got from %v, to %v", m["from"], m["to"])
		}
		return to - from
	}
	if a, b := length(theirs), length(ours); a != b {
		t.Errorf("the SDK asks for %v milliseconds, the exporter for %v", a, b)
	}
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Errorf("query of the SDK (-) and of the exporter (+):\n%s", diff)
	}
	again, err := json.Marshal(strict)
	var modelled, sent any
	if err = errors.Join(err, json.Unmarshal(again, &modelled), json.Unmarshal(byExporter, &sent)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(modelled, sent); diff != "" {
		t.Errorf("query of the exporter in the SDK's model (-) and as sent (+):\n%s", diff)
	}
}

// sessionResponses returns the rows of the table for sessions.
func sessionResponses() []response {
	ago := func(minutes int) string {
		return strconv.FormatInt(time.Now().Add(-time.Duration(minutes)*time.Minute).UnixMilli(), 10)
	}
	point := func(average, timestamp string) string {
		return `{"average":` + average + `,"timestamp":` + timestamp + `}`
	}
	metric := func(members string) simulator.Fault {
		return body(`{"metrics":[{"namespace":"SYS.VPCEP","metric_name":"vpcep_connections","unit":"Count",` +
			`"dimensions":[{"name":"ep_instance_id","value":"e1"}]` + members + `}]}`)
	}
	points := func(list ...string) simulator.Fault {
		return metric(`,"datapoints":[` + strings.Join(list, ",") + `]`)
	}
	valid := point("12.0", ago(1))
	otherEndpoint := points(valid)
	otherEndpoint.Body = strings.Replace(otherEndpoint.Body, `"e1"`, `"e2"`, 1)
	capitals := points(valid)
	capitals.Body = strings.Replace(capitals.Body, `"metrics"`, `"METRICS"`, 1)
	return []response{
		{"a value", points(valid), alike, ""},
		{"a value of 0", points(point("0", ago(1))), alike, ""},
		{"values in any order", points(point("13", ago(2)), valid, point("14", ago(3))), alike, ""},
		{"a value of 11 minutes ago", points(point("12", ago(11))), honest, tooOld},
		{"an unknown field", points(`{"sample_count":3,` + valid[1:]), alike, ""},
		{"`datapoints` empty", points(), alike, ""},
		{"`datapoints` null", metric(`,"datapoints":null`), alike, ""},
		{"`datapoints` absent", metric(""), alike, ""},
		{"`datapoints` an object", metric(`,"datapoints":{}`), tolerant, listKept},
		{"`average` a string of digits", points(point(`"12.0"`, ago(1))), tolerant, listKept},
		{"`average` another string", points(point(`"many"`, ago(1)), point("12", ago(2))), tolerant, listKept},
		{"`average` null", points(point("null", ago(1)), point("12", ago(2))), alike, ""},
		{"`average` absent", points(`{"max":13.0,"timestamp":` + ago(1) + `}`), alike, ""},
		{"`average` negative", points(point("-1", ago(1))), honest, notACount},
		{"`timestamp` a string of digits", points(point("12", `"`+ago(1)+`"`)), tolerant, listKept},
		{"`timestamp` null", points(point("12", "null")), honest, "the value has no time"},
		{"the value of another endpoint", otherEndpoint, alike, ""},
		{"`metrics` empty", body(`{"metrics":[]}`), alike, ""},
		{"`metrics` null", body(`{"metrics":null}`), alike, ""},
		{"`METRICS`", capitals, honest, "field names are case-sensitive"},
		{"`metrics` an object", body(`{"metrics":{}}`), alike, ""},
		{"200, empty", simulator.Fault{Status: http.StatusOK}, honest, noList},
		{"200, `{}`", body(`{}`), honest, noList},
		{"200, an error of Cloud Eye", body(cloudEyeError("429", "ces.0429")), honest, noList},
		{"400 `message.code` ces.0014", failure(400, cloudEyeError("400", "ces.0014")), tolerant, cloudEyeErrors},
		{"400 `details.code` ces.0014", failure(400, `{"code":400,"element":"Bad Request","message":"m",`+
			`"details":{"details":"d","code":"ces.0014"}}`), alike, ""},
		{"403 `message.code` 403", failure(403, cloudEyeError(`"403"`, "403")), alike, ""},
		{"429 `message.code` ces.0429", failure(429, cloudEyeError("429", "ces.0429")), tolerant, cloudEyeErrors},
		{"401 `error_code` APIGW.0301", failure(401, gatewayError("APIGW.0301", "No.")), alike, ""},
		{"500, an HTML page", failure(500, "<html>"), alike, ""},
	}
}

// cloudEyeError returns an error in the format of Cloud Eye.
func cloudEyeError(status, code string) string {
	return fmt.Sprintf(`{"http_code":%s,"message":{"details":"No.","code":%q}}`, status, code)
}

func TestUnusualSessionsAreReadAsClassified(t *testing.T) {
	metrics := []ces.Metric{{Kind: ces.Sessions, EndpointID: "e1"}}
	results := &readingTable{table{head: []string{"Response with sessions", "Go", "Exporter", "The exporter is"}}}
	for _, r := range sessionResponses() {
		c := newCloudEye(t)
		c.SetFault(simulator.Target{Endpoint: simulator.Sessions}, r.fault)
		bySDK, err1 := c.queryWithSDK(t, metrics, 10)
		byExporter, err2 := c.queryWithExporter(t, metrics)
		results.addCells(t, r, []string{sessionsCell(bySDK, err1)}, sessionsCell(byExporter, err2))
	}
	checkPage(t, "reading sessions", results.String())
}

func sessionsCell(values []ces.Value, err error) string {
	var ours *cloud.Error
	var theirs *sdkerr.ServiceResponseError
	switch {
	case errors.As(err, &ours):
		return newError(ours.Status, ours.Code).String()
	case errors.As(err, &theirs):
		return newError(theirs.StatusCode, theirs.ErrorCode).String()
	case err != nil:
		return "error"
	case values[0].At.IsZero():
		return "none"
	}
	return fmt.Sprint(values[0].Value)
}
