# Two targets are all there is to know: `make serve` and `make test`.

.DEFAULT_GOAL := help
ARGS ?=
TOOLS := .cache/tools
DENY_VERSION := 0.20.2
BUF_VERSION := 1.75.0
DENY := $(TOOLS)/bin/cargo-deny
BUF := $(TOOLS)/buf/bin/buf

include $(wildcard training/training.mk torch.mk examples/evaluate.mk)

.PHONY: help serve test lint test-rust test-board try-replicas proto deny bench trials

help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: $(ENGINE_NEEDS) ## Build and run the service; flags in ARGS, ENGINE=torch for the other engine
	cargo run --release --locked $(ENGINE_FEATURES) -- serve $(ARGS)

test: lint proto test-rust test-board deny $(if $(wildcard torch.mk),torch-test) $(if $(wildcard training/training.mk),test-training) $(if $(wildcard k8s/check),check-k8s check-live) ## Everything that CI runs; installs what it needs

lint: ## Format and clippy
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

test-rust: ## Tests of all crates
	cargo test --locked --workspace

test-board: ## The live board in headless Chromium; PICTURES=docs takes its pictures anew
	scripts/board_test

try-replicas: ## Three servers under load: one is killed, one drained, nothing is lost
	cargo test --locked --test replicas -- --nocapture

bench: ## Engines side by side (ENGINE=torch: and precisions), and the service; flags in ARGS
	cargo run --release --locked $(ENGINE_FEATURES) -- bench $(ARGS)

proto: $(BUF) ## Lint the interface and hold it against the last tag's before HEAD, else the parent commit's
	$(BUF) lint
	$(BUF) format --diff --exit-code
	@base=$$(git describe --tags --abbrev=0 HEAD^ 2>/dev/null || echo HEAD^); \
	if git rev-parse --quiet --verify "$$base:proto" >/dev/null 2>&1; then \
	  echo "$(BUF) breaking --against $$base" && \
	  git archive "$$base" proto buf.yaml | $(BUF) breaking --against '-#format=tar'; \
	else echo "breaking: not checked, $$base has no interface"; fi

trials: ## See the promises kept: order, streams, bad posts, restart, memory
	cargo build --release --locked
	cargo run --release --locked --example trials

deny: $(DENY) ## Licences, bans and sources of dependencies; advisories where their database can be reached
	$(DENY) --all-features check licenses bans sources
	@$(DENY) --all-features fetch db >/dev/null 2>&1 \
	  && $(DENY) --all-features check advisories --disable-fetch \
	  || echo "advisories: not checked, the advisory database can't be reached"

.PHONY: check-k8s check-live
check-k8s: ## Manifests, rules, dashboard, Dockerfile
	k8s/check

check-live: ## Rules and dashboard against a real Prometheus and a server under load
	cargo build --locked
	k8s/check --live --pounce target/debug/pounce --seconds 20

$(DENY):
	cargo install --locked --quiet cargo-deny@$(DENY_VERSION) --root $(TOOLS)

$(BUF):
	python3 -m venv $(TOOLS)/buf
	$(TOOLS)/buf/bin/pip install --quiet --disable-pip-version-check buf-bin==$(BUF_VERSION)
