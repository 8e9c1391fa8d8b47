# The Go recipe, compiled and run against a real server.
.PHONY: test-go
test-go: ## Compile the Go recipe and run it through a drain, a crash and the age of streams
	cargo build --locked $(BUILD_FEATURES)
	scripts/go_test
