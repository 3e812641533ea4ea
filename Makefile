# `make` lists the targets.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Versions of tools. .ci/run reads them from this file.
GOLANGCI_LINT_VERSION := v2.15.0
GOVULNCHECK_VERSION := v1.9.0
ACTIONLINT_VERSION := v1.7.12
BENCHSTAT_VERSION := v0.0.0-20260908200009-22c9c6c9d4da
# Module version v0.316.0 is Prometheus 3.16.0. The tags omit the service discoveries that the tests do not use.
PROMETHEUS_VERSION := v0.316.0
PROMETHEUS_TAGS := remove_all_sd,enable_dns_sd,enable_kubernetes_sd

BIN      := css_vpcep_exporter
TOOLS    := $(CURDIR)/.bin
IMAGE    ?= css_vpcep_exporter
CONTAINER_TOOL ?= docker
IMAGE_FLAGS ?=
FUZZTIME ?= 30s
SOAK     ?= 5m
BENCH    ?= .
COUNT    ?= 6
BASE     ?= HEAD~1
COMPARE  ?=
UI       ?=

# Version information, with fallbacks for a tree without git or tags.
VERSION    ?= $(or $(shell cat VERSION 2>/dev/null),$(patsubst v%,%,$(shell git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null)),devel)
REVISION   ?= $(or $(shell git rev-parse HEAD 2>/dev/null),unknown)
BRANCH     ?= $(or $(shell git symbolic-ref --short -q HEAD 2>/dev/null),unknown)
BUILD_USER ?= $(shell id -un)@$(shell uname -n)
# The time of the commit, so that builds are reproducible.
BUILD_DATE ?= $(or $(shell TZ=UTC git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null),$(shell date -u +%Y-%m-%dT%H:%M:%SZ))

VERSION_PKG := github.com/prometheus/common/version
LDFLAGS := -s -w \
	-X $(VERSION_PKG).Version=$(VERSION) \
	-X $(VERSION_PKG).Revision=$(REVISION) \
	-X $(VERSION_PKG).Branch=$(BRANCH) \
	-X $(VERSION_PKG).BuildUser=$(BUILD_USER) \
	-X $(VERSION_PKG).BuildDate=$(BUILD_DATE)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: build
build: ## Build ./css_vpcep_exporter as a static binary with version information
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) .

.PHONY: test
test: ## Run all tests
	go test ./...

.PHONY: race
race: ## Run all tests under the race detector
	go test -race ./...

.PHONY: lint
lint: $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION) ## Run golangci-lint at its pinned version, installed into ./.bin
	$< run --build-tags e2e ./...

.PHONY: vulnerabilities
vulnerabilities: ## Check the modules and Go's standard library for known vulnerabilities
	.ci/run vulnerabilities

.PHONY: soak
soak: ## Scrape a faulty fleet for SOAK (5m) and check for leaks
	CSS_VPCEP_SOAK=$(SOAK) go test -race -count=1 -timeout 1h -run '^(TestSoak|TestPausedKeyRecovers)$$' -v ./internal/app

.PHONY: e2e
e2e: $(TOOLS)/prometheus-$(PROMETHEUS_VERSION)/prometheus ## Run end-to-end tests with real Prometheus servers (needs Debian's prometheus, prometheus-alertmanager and chromium)
	CSS_VPCEP_PROMETHEUS_DIRS=$(<D) go test -tags e2e -count=1 ./test/e2e

.PHONY: pictures
pictures: ## Take README.md's screenshots of the demo (needs chromium, pngquant, and in UI the directory of a Prometheus 3 release)
	CSS_VPCEP_PROMETHEUS_DIRS='$(UI)' CSS_VPCEP_SCREENSHOTS=$(CURDIR)/docs/images \
		go test -tags e2e -count=1 -run '^TestPictures$$' ./test/e2e
	pngquant --force --ext .png --strip --speed 1 64 docs/images/*.png

.PHONY: conformance
conformance: ## Compare the vendor's SDKs, the simulator and the exporter (needs python3, a JDK and mvn)
	test/conformance/run

.PHONY: conformance-page
conformance-page: ## Update the tables of docs/conformance.md
	CSS_VPCEP_CONFORMANCE_WRITE=1 test/conformance/run

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (30s)
	@go list ./... | while read -r package; do \
		go test -list '^Fuzz' "$$package" | { grep '^Fuzz' || true; } | while read -r target; do \
			echo "$$package $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package" </dev/null; \
		done; \
	done

.PHONY: bench
bench: ## Run the benchmarks whose names match BENCH (all)
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./...

.PHONY: benchstat
benchstat: $(TOOLS)/benchstat-$(BENCHSTAT_VERSION) ## Compare the benchmarks with those of the commit BASE (HEAD~1), COUNT (6) alternating runs each
	@work=$$(mktemp -d); trap 'git worktree remove --force "$$work/base"; rm -rf "$$work"' EXIT; \
	git worktree add --quiet --detach "$$work/base" '$(BASE)'; \
	for i in $$(seq $(COUNT)); do \
		for side in base current; do \
			if [ "$$side" = base ]; then cd "$$work/base"; else cd '$(CURDIR)'; fi; \
			go test -run '^$$' -bench '$(BENCH)' -benchmem ./... >>"$$work/$$side.txt"; \
		done; \
	done; \
	$< "$$work/base.txt" "$$work/current.txt"

.PHONY: compare
compare: ## Compare the cost of scrapes with json_exporter (if in PATH) and other programs; flags in COMPARE
	go run ./test/compare $(COMPARE)

.PHONY: demo
demo: ## Run the exporter against a simulated cloud on http://127.0.0.1:10247/
	go run . --demo

.PHONY: image
image: ## Build the container image css_vpcep_exporter; flags such as --build-arg in IMAGE_FLAGS
	$(CONTAINER_TOOL) build \
		--build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) --build-arg BRANCH=$(BRANCH) \
		--build-arg BUILD_USER=$(BUILD_USER) --build-arg BUILD_DATE=$(BUILD_DATE) \
		--label org.opencontainers.image.created=$(BUILD_DATE) \
		--tag $(IMAGE):$(VERSION) --tag $(IMAGE):latest $(IMAGE_FLAGS) .

.PHONY: check
check: ## Check the demo, the documents' examples, deploy/ and dashboards/ (needs promtool)
	.ci/run demo examples deploy

.PHONY: notice
notice: ## Generate NOTICE, with the licenses of the modules in the binaries
	go run ./test/notice >NOTICE.new
	mv NOTICE.new NOTICE

.PHONY: sync
sync: ## Copy the rules and dashboards into the Helm chart
	deploy/helm/sync

.PHONY: ci
ci: ## Run all checks
	.ci/run

.PHONY: clean
clean: ## Remove the built program and the installed tools
	rm -rf $(BIN) $(TOOLS)

$(TOOLS)/benchstat-$(BENCHSTAT_VERSION):
	GOBIN=$(TOOLS) CGO_ENABLED=0 go install golang.org/x/perf/cmd/benchstat@$(BENCHSTAT_VERSION)
	mv $(TOOLS)/benchstat $@

$(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION):
	GOBIN=$(TOOLS) CGO_ENABLED=0 go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	mv $(TOOLS)/golangci-lint $@

$(TOOLS)/prometheus-$(PROMETHEUS_VERSION)/prometheus:
	GOBIN=$(@D).new CGO_ENABLED=0 go install -tags $(PROMETHEUS_TAGS) -ldflags '-s -w' \
		github.com/prometheus/prometheus/cmd/{promtool,prometheus}@$(PROMETHEUS_VERSION)
	mv $(@D).new $(@D)
