# The TypeScript recipe, compiled and run against a real server.
.PHONY: test-typescript
test-typescript: ## Compile the TypeScript recipe and run it through a drain, a crash and the age of streams
	cargo build --locked $(BUILD_FEATURES)
	scripts/typescript_test
