# Package Registry for Kubernetes. `make help` lists the targets. Prerequisites: cargo and Go >= 1.26; the rest installs itself.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# Programs and tests are named without their package, so that all builds share one set of features and nothing is compiled twice.
E2E := cargo run --quiet --bin
export CARGO_TERM_COLOR ?= auto

.PHONY: help demo demo-down test test-unit test-e2e lint generate verify image dcos-plugin cluster-up cluster-down bench prerequisites

help: ## List the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: prerequisites ## A cluster (or yours: KUBECONFIG), the operator, a registry, a package, and pods that run its image
	$(E2E) demo -- up

demo-down: prerequisites ## Take the demo down, and with it the cluster of this machine
	$(E2E) demo -- down

test: verify lint test-unit test-e2e ## Everything: generated files, lints, unit tests, tests on a real cluster

test-unit: prerequisites ## Tests without a cluster
	tools=$$($(E2E) tools -- minio versitygw cosign); { read -r minio; read -r versitygw; read -r cosign; } <<<"$$tools"; \
	  export PACKAGE_REGISTRY_TEST_MINIO=$$minio PACKAGE_REGISTRY_TEST_VERSITYGW=$$versitygw PACKAGE_REGISTRY_COSIGN=$$cosign; \
	  cargo test --workspace
	server/schemathesis.sh

test-e2e: prerequisites ## Tests on a real cluster (yours: KUBECONFIG)
	e2e/run.sh

lint: prerequisites ## Formatting, clippy, dependency rules
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings
	cargo clippy --test api_server --test clients --test cluster -- --deny warnings
	image/deny.sh

generate: prerequisites ## Write what is made from the code: CRDs, roles, the options table, install.yaml, the OpenAPI document, docs/cli.md
	cargo run --quiet --bin rbacgen -- .
	cargo run --quiet --bin crdgen -- .
	cargo run --quiet --bin openapigen -- .
	cargo run --quiet --bin clidoc -- .

GENERATED := manifests docs/options.md docs/openapi.json docs/cli.md
verify: generate ## Fail when a generated file isn't what the code makes
	@changed=$$(git status --porcelain -- $(GENERATED)); [ -z "$$changed" ] || { git --no-pager diff -- $(GENERATED); \
	  echo "generated files differ: run 'make generate' and commit"; echo "$$changed"; exit 1; }

image: prerequisites ## Build the image; IMAGE_TO=archive (default), cluster, push:HOST/NAME:TAG or kind:CLUSTER
	image/build.sh $(or $(IMAGE_TO),archive)

dcos-plugin: prerequisites ## The command line as plugin of the dcos command: a package directory in out/dcos-plugin
	cli/plugin.sh

cluster-up: prerequisites ## A two-node Kubernetes on this machine; prints the KUBECONFIG line
	$(E2E) cluster -- up

cluster-down: prerequisites ## Take that cluster down and leave nothing behind
	$(E2E) cluster -- down

bench: prerequisites ## Measure, side by side in one run
	cargo run --quiet --bin bench

prerequisites:
	@image/prerequisites.sh
