// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"css_vpcep_exporter/internal/ces"
	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/css"

	"github.com/prometheus/client_golang/prometheus"
)

const subsystem = "exporter"

// ExporterMetrics holds the metrics of the exporter itself.
type ExporterMetrics struct {
	apiRequests   *prometheus.CounterVec
	apiDuration   *prometheus.HistogramVec
	failures      *prometheus.CounterVec
	unparsables   *prometheus.CounterVec
	reloadOK      prometheus.Gauge
	reloadSuccess prometheus.Gauge

	mu       sync.Mutex
	loadedOK bool
	loadedAt time.Time
}

// NewExporterMetrics registers the metrics.
func NewExporterMetrics(registerer prometheus.Registerer) *ExporterMetrics {
	m := &ExporterMetrics{
		apiRequests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "api_requests_total",
			Help: "Total number of API requests, including retries, by HTTP status code (error: no response).",
		}, []string{"region", "operation", "code"}),
		apiDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "api_request_duration_seconds",
			Help:                            "Duration of API requests, including reading the response.",
			Buckets:                         []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}, []string{"operation"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "scrape_failures_total",
			Help: "Total number of failed reads of clusters, by reason.",
		}, []string{"reason"}),
		unparsables: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "unparsable_values_total",
			Help: "Total number of values in API responses that could not be parsed, by API field.",
		}, []string{"field"}),
		reloadOK: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "config_last_reload_successful",
			Help: "Whether the last configuration reload succeeded (1) or not (0).",
		}),
		reloadSuccess: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "config_last_reload_success_timestamp_seconds",
			Help: "Unix time of the last successful configuration reload.",
		}),
	}
	for _, reason := range cloud.Reasons() { // increase() needs an initial 0
		m.failures.WithLabelValues(string(reason))
	}
	for _, field := range slices.Concat(css.Fields(), ces.Fields()) {
		m.unparsables.WithLabelValues(field)
	}
	registerer.MustRegister(m.apiRequests, m.apiDuration, m.failures, m.unparsables, m.reloadOK, m.reloadSuccess)
	return m
}

// ExpectRequests creates the counters of requests that a project will send, because increase() needs a 0.
func (m *ExporterMetrics) ExpectRequests(region string, operations ...string) {
	for _, operation := range operations {
		for _, status := range []int{http.StatusOK, http.StatusTooManyRequests} {
			m.apiRequests.WithLabelValues(region, operation, strconv.Itoa(status))
		}
	}
}

// Observe records an API request.
func (m *ExporterMetrics) Observe(e cloud.Exchange) {
	m.apiRequests.WithLabelValues(e.Region, e.Operation, e.Code()).Inc()
	m.apiDuration.WithLabelValues(e.Operation).Observe(e.Duration.Seconds())
}

// ConfigLoaded records an attempt to load the configuration.
func (m *ExporterMetrics) ConfigLoaded(ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.loadedOK = ok
	m.reloadOK.Set(boolean(ok))
	if ok {
		m.loadedAt = time.Now()
		m.reloadSuccess.Set(unix(m.loadedAt))
	}
}

// ConfigState returns the last attempt's result and the time of the last success.
func (m *ExporterMetrics) ConfigState() (ok bool, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.loadedOK, m.loadedAt
}

func (m *ExporterMetrics) countFailure(reason cloud.Reason) {
	m.failures.WithLabelValues(string(reason)).Inc()
}

// NewDemoMetric returns the metric that tells simulated data from real.
func NewDemoMetric() prometheus.Collector {
	demo := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Subsystem: subsystem, Name: "demo",
		Help: "Always 1; present only with --demo, if all clusters are simulated.",
	})
	demo.Set(1)
	return demo
}

// CountUnparsable counts values that could not be parsed.
func (m *ExporterMetrics) CountUnparsable(byField map[string]int) {
	for field, count := range byField {
		m.unparsables.WithLabelValues(field).Add(float64(count))
	}
}
