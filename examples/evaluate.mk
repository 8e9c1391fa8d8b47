# The folder of the Numenta Anomaly Benchmark's tweet counts.
NAB ?= ../shared/data/nab

.PHONY: evaluate-alerts
evaluate-alerts: ## Measure the alerts on topics: false alarms, delays, naive rules.
	cargo run --release --no-default-features --example evaluate_alerts -- $(NAB) docs/alert-replay.svg

.PHONY: evaluate-fleet
evaluate-fleet: ## Measure what 1, 3 and 12 replicas see of a shift, with one log and without, and what a log carries
	cargo run --release --no-default-features --example evaluate_fleet
