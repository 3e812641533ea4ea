// SPDX-License-Identifier: Apache-2.0

// Package e2e tests the built program, in one or several processes, with real Prometheus servers configured from the
// sections of deploy/prometheus/scrape.yml, a real Alertmanager and a real browser.
//
// It contains only tests, behind the build tag e2e: `go test -tags e2e -count=1 ./test/e2e`. They need prometheus, promtool,
// prometheus-alertmanager and chromium in PATH and listen only on 127.0.0.1. The cloud is the simulator, in the process
// of the test; exporters and Prometheus are child processes that are stopped when their test ends.
//
// CSS_VPCEP_PROMETHEUS_DIRS lists directories with further versions of Prometheus for TestPrometheusVersions. With
// CSS_VPCEP_UPDATE=1 that test writes the table in docs/conformance-prometheus.md. With CSS_VPCEP_FIGURES=1,
// `-run TestScalingFigures` measures the figures in docs/scaling.md.
package e2e
