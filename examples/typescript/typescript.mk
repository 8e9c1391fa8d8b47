# The TypeScript recipes, compiled and run against a real server.
.PHONY: test-typescript
test-typescript: ## Compile the TypeScript recipes and run them with a real server: drains, crashes, gRPC-Web
	cargo build --locked $(BUILD_FEATURES)
	scripts/typescript_test
