# Opta Local. `make up` runs everything; `make help` explains the rest.
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv

.DEFAULT_GOAL := help
.PHONY: help up down test lint types format bench lock clean

help: ## Explain each target
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: .venv/.up ## Install what is missing and start every role; Ctrl-C stops them
	@$(BIN)/python -m opta.up

down: ## Stop the roles that `make up` started in another terminal
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m opta.up --stop; else echo "Nothing is installed here, so nothing runs."; fi

test: .venv/.test ## Run all tests (TESTS="path ..." for some); a missing system package skips its tests by name
	$(BIN)/pytest -n 2 --dist loadfile $(TESTS)

lint: .venv/.test ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.test ## Check types
	$(BIN)/mypy opta inference cli apps

format: .venv/.test ## Put the code into its one format
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .

bench: .venv/.test ## Measure LMX against mlx_lm.server, and the daemon against its bounds
	$(BIN)/python -m tests.bench.lmx
	@missed=0; for part in daemon sessions followers border; do \
	    echo; echo "tests/bench/$$part.py"; $(BIN)/python -m tests.bench.$$part || missed=1; \
	done; exit $$missed

lock: $(UV) ## Compile requirements/*.txt from *.in
	$(COMPILE) requirements/dev.in --output-file requirements/dev.txt
	for role in base sites daemon lmx gguf; do \
		$(COMPILE) requirements/$$role.in --constraint requirements/dev.txt --output-file requirements/$$role.txt || exit 1; \
	done

clean: ## Remove the environment and the sites' development data
	rm -rf .venv .data

COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header \
	--no-emit-index-url --no-emit-find-links

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else \
	    f"Opta Local needs Python 3.11 or newer; $(PYTHON) is {sys.version.split()[0]}. Try: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	@echo "Making .venv"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9

.venv/.up: $(UV) requirements/sites.txt requirements/daemon.txt requirements/lmx.txt pyproject.toml
	@echo "Installing what every role needs"
	@$(UV) pip install --python $(BIN)/python -r requirements/sites.txt -r requirements/daemon.txt -r requirements/lmx.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

# pip keeps the wheel that it compiled; uv compiles again when the index gives its files no ETag.
.venv/.test: .venv/.up requirements/dev.txt requirements/gguf.txt
	@echo "Installing what tests need"
	@$(UV) pip install --quiet --python $(BIN)/python -r requirements/dev.txt
	@if command -v c++ >/dev/null; then \
	    echo "Installing llama.cpp, compiled here the first time: some ten minutes"; \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/gguf.txt; \
	else echo "No C++ compiler (Debian: g++), so no llama.cpp: its tests are skipped"; fi
	@touch $@
