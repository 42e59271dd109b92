# Needs python3 (3.10 to 3.13) with venv, and make. Everything else is installed into .venv.
# Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
PYTHON_VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
BIN := .venv/bin
# Where there is a Chromium, tests/test_browser.py opens the page of a report in it.
BROWSER := $(shell for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && echo ,browser && break; done)
# One stamp for each Python version: another interpreter rebuilds .venv.
PACKAGE_INSTALLED := .venv/installed-package-$(PYTHON_VERSION)
INSTALLED := .venv/installed-$(PYTHON_VERSION)
DOCS_INSTALLED := .venv/installed-docs-$(PYTHON_VERSION)
# The oldest interpreter that is here and starts; the lowest versions may have no wheels for newer ones.
LOWEST_PYTHON ?= $(or $(shell for python in python3.10 python3.11; do $$python -c '' 2>&- && echo $$python && break; done),$(PYTHON))
LOWEST_INSTALLED := .venv-lowest/installed
# One process for each processor, each with one thread (tests/conftest.py). worksteal: long tests do not wait in a row.
PARALLEL := -n auto --maxprocesses 16 --dist worksteal

.PHONY: help demo test test-quick test-lowest fuzz robustness lint format docs bench clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s%s\n", $$1, $$2 }' Makefile

$(PACKAGE_INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e .
	@touch $@

$(INSTALLED): $(PACKAGE_INSTALLED)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[test,dev$(BROWSER)]'
	@touch $@

$(DOCS_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[docs]'
	@touch $@

$(LOWEST_INSTALLED): pyproject.toml constraints-lowest.txt
	$(LOWEST_PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/python -m pip install --disable-pip-version-check --quiet -c constraints-lowest.txt -e '.[test]'
	@touch $@

demo: $(PACKAGE_INSTALLED) ## run the recipe on the embedded corpus, from Kaldi's lattices to a table of word error rates
	recipes/wsj/run.sh --corpus mini

test: $(INSTALLED) ## run all tests
	$(BIN)/python -m pytest $(PARALLEL)

test-quick: $(INSTALLED) ## run the tests that take seconds
	$(BIN)/python -m pytest $(PARALLEL) -m 'not slow'

test-lowest: $(LOWEST_INSTALLED) ## run all tests with the lowest versions that pyproject.toml allows
	.venv-lowest/bin/python -m pytest $(PARALLEL)

MINUTES ?= 10
SEED ?= $(shell date +%s)
fuzz: $(INSTALLED) ## damage files and see that every command ends well: make fuzz MINUTES=60 SEED=7
	$(BIN)/python tests/fuzz/run.py --minutes $(MINUTES) --seed $(SEED)

robustness: $(INSTALLED) ## kill commands, fill their disk and run them at once: make robustness MINUTES=60 SEED=7
	$(BIN)/python tests/fuzz/robustness.py --minutes $(MINUTES) --seed $(SEED)

lint: $(INSTALLED) ## check style, simple mistakes and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED) ## correct what ruff can correct
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DOCS_INSTALLED) ## build the site into docs/_build; a warning or a link that leads nowhere is an error
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --fresh-env --quiet -c docs . docs/_build
	@echo "docs/_build/index.html"

bench: $(INSTALLED) ## run every script of benchmarks/ (after make demo); results go into benchmarks/results/
	set -e; for script in $(wildcard benchmarks/*.py); do $(BIN)/python "$$script"; done

clean: ## return to a fresh checkout
	rm -rf .venv .venv-lowest build dist docs/_build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis recipes/*/exp
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
