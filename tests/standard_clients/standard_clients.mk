# Clients that others wrote against the real server: `make test-standard-clients`.
CLIENTS_VENV ?= .venv-clients
CLIENTS_STAMP = $(CLIENTS_VENV)/.installed
CLIENTS = tests/standard_clients

$(CLIENTS_STAMP): $(CLIENTS)/requirements.txt $(CLIENTS)/constraints.txt
	python3 -m venv $(CLIENTS_VENV)
	$(CLIENTS_VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

.PHONY: test-standard-clients
test-standard-clients: $(CLIENTS_STAMP) ## Test the server with clients that others wrote: curl, grpcurl, Hugging Face's, Triton's, schemathesis
	cargo build --locked $(BUILD_FEATURES)
	$(CLIENTS_VENV)/bin/ruff check $(CLIENTS)
	$(CLIENTS_VENV)/bin/ruff format --check $(CLIENTS)
	$(CLIENTS_VENV)/bin/python -m pytest --quiet $(CLIENTS)
