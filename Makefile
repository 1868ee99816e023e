# Every target creates what it needs in .venv from nothing but python3, a C compiler and the package registries.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
GO_SOURCES := $(wildcard lattice/*.go) lattice/go.mod lattice/go.sum hatch_build.py
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint bench lock clean

$(VENV)/.locked: requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	touch $@

$(VENV)/.installed: $(VENV)/.locked pyproject.toml $(GO_SOURCES)
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.bench: $(VENV)/.installed requirements-bench.lock
	$(BIN)/pip install --quiet --require-hashes -r requirements-bench.lock
	touch $@

demo: $(VENV)/.installed  ## nine invented organisations train a model together; prints where the report is
	$(BIN)/fedcrm demo --out fedcrm-demo

test: $(VENV)/.installed  ## all tests: Go first, then Python
	cd lattice && "$(CURDIR)/$(BIN)/python" ../hatch_build.py test
	$(BIN)/pytest -q

lint: $(VENV)/.installed  ## style, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd lattice && "$(CURDIR)/$(BIN)/python" ../hatch_build.py vet

bench: $(VENV)/.bench  ## reproducible comparisons with peers, and the learner on a large table
	for name in crypto noise round learner; do $(BIN)/python benchmarks/$$name.py || exit 1; done

lock: $(VENV)/.locked  ## renew both lock files from pyproject.toml
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --allow-unsafe --extra dev --output-file requirements.lock pyproject.toml
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --allow-unsafe --extra bench --output-file requirements-bench.lock --constraint requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) fedcrm-demo fedcrm-benchmark
