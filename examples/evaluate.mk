# The folder of the Numenta Anomaly Benchmark's tweet counts.
NAB ?= ../shared/data/nab

.PHONY: evaluate-alerts
evaluate-alerts: ## Measure the alerts on topics: false alarms, delays, naive rules.
	cargo run --release --no-default-features --example evaluate_alerts -- $(NAB) docs/alert-replay.svg
