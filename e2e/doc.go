// SPDX-License-Identifier: Apache-2.0

// Package e2e tests the exporter as it is run: the built program, several of it, under a real Prometheus that is configured
// with the sections of deploy/prometheus/scrape.yml, and its page in a real browser.
//
// It holds tests only, behind the build tag e2e: `go test -tags e2e -count=1 ./e2e`. They need prometheus, promtool and
// chromium in PATH, and listen on 127.0.0.1 alone. CSS_VPCEP_PROMETHEIS names folders of further Prometheis, under which
// TestPrometheis runs too; with CSS_VPCEP_UPDATE=1 it writes the table of docs/conformance-prometheus.md. The cloud is the simulator, in the test's own process; exporters and
// Prometheus are child processes that end with their test. With CSS_VPCEP_FIGURES=1, `-run TestScalingFigures` measures
// what docs/scaling.md says.
package e2e
