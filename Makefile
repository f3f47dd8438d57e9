# make evolve      set up and search for a rule that finds the first principal component
# make test        lint, types and the tests that a change must pass
# make test-full   every test at full size, but those against published numbers
# make test-science  the published numbers
# make bench       this machine's speed as ratios
# make wheel-test  build the wheel, install it elsewhere, run a problem from an empty folder
# make clean       remove what make made, not runs
#
# EVOSEARCH_PYTHON names the Python (3.11 or newer) to make the environment with.

EVOSEARCH_PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Files are kept on one worker, so that their shared fixtures and compiled code are made once.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

.PHONY: help setup evolve lint test test-full test-science bench wheel-test clean

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@echo "setting up $(VENV) (a minute or two; once)"
	@$(EVOSEARCH_PYTHON) -c 'import sys; v = sys.version_info; \
	  sys.exit(None if v >= (3, 11) else f"evosearch needs Python 3.11 or newer; $(EVOSEARCH_PYTHON) is {v[0]}.{v[1]}. Name another: make EVOSEARCH_PYTHON=python3.12 ...")'
	@rm -rf $(VENV)
	@$(EVOSEARCH_PYTHON) -m venv $(VENV)
	@$(PIP) install -qq --constraint constraints.txt hatchling editables
	@$(PIP) install -qq --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	@touch $(STAMP)
	@echo "$(VENV) is ready"

evolve: $(STAMP)
	@$(BIN)/evosearch run oja_pc1

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python

test: lint
	$(PYTEST) -m "not full and not science" tests

test-full: lint
	EVOSEARCH_FULL=1 $(PYTEST) -m "not science" --timeout 7200 tests

test-science: $(STAMP)
	EVOSEARCH_SCIENCE=1 $(PYTEST) -m science --timeout 7200 tests

bench: $(STAMP)
	$(BIN)/evosearch bench

# The wheel goes into an environment of its own that sees this one's packages, but not this checkout.
wheel-test: $(STAMP)
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	$(BIN)/python -m build --wheel --no-isolation --outdir "$$folder/dist" . > "$$folder/build.log" \
	  || { cat "$$folder/build.log"; exit 1; }; \
	$(EVOSEARCH_PYTHON) -m venv "$$folder/venv"; \
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$$folder/packages.txt"; \
	"$$folder/venv/bin/python" -m pip --disable-pip-version-check install -qq --no-deps --no-index "$$folder"/dist/*.whl; \
	cp "$$folder/packages.txt" "$$("$$folder/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/packages.pth"; \
	mkdir "$$folder/empty"; cd "$$folder/empty"; \
	"$$folder/venv/bin/python" -c 'import evosearch, sys; assert evosearch.__file__.startswith(sys.prefix), evosearch.__file__'; \
	"$$folder/venv/bin/evosearch" list problems; \
	"$$folder/venv/bin/evosearch" run oja_pc1 --preset quick --budget 100; \
	echo "the wheel runs from an empty folder"

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .coverage coverage.xml
	find evosearch tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
