# The Python client: `make test-python`.
PYTHON_VENV ?= .venv-python
PYTHON = $(PYTHON_VENV)/bin/python
PYTHON_STAMP = $(PYTHON_VENV)/.installed

$(PYTHON_STAMP): clients/python/requirements.txt clients/python/constraints.txt
	python3 -m venv $(PYTHON_VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

.PHONY: test-python
test-python: $(PYTHON_STAMP) ## Test the Python client as an installed wheel with the real server; check its types and style
	cargo build --locked $(BUILD_FEATURES)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --force-reinstall clients/python
	cd clients/python && $(CURDIR)/$(PYTHON) -m ruff check && $(CURDIR)/$(PYTHON) -m ruff format --check && $(CURDIR)/$(PYTHON) -m mypy
	$(PYTHON) -m pytest --quiet clients/python
