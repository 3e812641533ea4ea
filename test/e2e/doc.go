// SPDX-License-Identifier: Apache-2.0

// Package e2e tests the built program with real Prometheus servers, a real Alertmanager and a real browser. The scrape
// jobs are the sections of deploy/prometheus/scrape.yml. The cloud is the simulator, in the process of the test.
//
// It contains only tests, behind the build tag e2e: `go test -tags e2e -count=1 ./test/e2e`. They need prometheus,
// promtool, prometheus-alertmanager and chromium in PATH. Everything listens on 127.0.0.1 only.
//
// Environment variables:
//   - CSS_VPCEP_PROMETHEUS_DIRS lists directories, separated as in PATH, with more versions of prometheus and promtool
//     for TestPrometheusVersions.
//   - CSS_VPCEP_UPDATE=1 makes that test write the table in docs/conformance-prometheus.md.
//   - CSS_VPCEP_FIGURES=1 enables TestScalingFigures, which measures the figures in docs/scaling.md.
//   - CSS_VPCEP_SCREENSHOTS is a directory for screenshots, and enables TestPictures, which takes those of README.md.
package e2e
