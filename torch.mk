# The torch engine: libtorch and the tests that need it.
#
# `make serve ENGINE=torch` and the like add $(ENGINE_NEEDS) to what they depend on
# and $(ENGINE_FEATURES) to what they give cargo; pounce reads POUNCE_ENGINE.

ENGINE_NEEDS = $(if $(filter torch,$(ENGINE)),libtorch)
ENGINE_FEATURES = $(if $(filter torch,$(ENGINE)),--features torch)

ifdef ENGINE
export POUNCE_ENGINE := $(ENGINE)
endif

.PHONY: libtorch torch-test

libtorch: ## Find libtorch 2.4.0, or fetch it into .cache/libtorch
	@command -v python3 >/dev/null || { echo "libtorch is set up by python3 (3.9 or later): install it, then try again"; exit 1; }
	@python3 scripts/libtorch.py

torch-test: libtorch ## Build and test with the torch engine
	cargo clippy --locked --workspace --features pounce/torch --all-targets -- -D warnings
	cargo test --locked --workspace --features pounce/torch --lib --test torch_engine --test torch_service --test default_model
