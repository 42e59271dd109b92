# Needs python3 (3.10 to 3.13) with venv, and make; everything else is installed into .venv.
# Another interpreter: PYTHON=python3.12 make test

PYTHON ?= python3
PYTHON_VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
BIN := .venv/bin
# One stamp a Python version: asking for another interpreter makes .venv anew.
INSTALLED := .venv/installed-$(PYTHON_VERSION)

.PHONY: help demo test test-quick lint format bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s%s\n", $$1, $$2 }' Makefile

$(INSTALLED): setup.py constraints.txt
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[test,dev]'
	@touch $@

demo: $(INSTALLED) ## from Kaldi's lattices to a table of word error rates, on the embedded mini corpus
	recipes/wsj/run.sh --corpus mini

test: $(INSTALLED) ## all tests
	$(BIN)/python -m pytest

test-quick: $(INSTALLED) ## the tests of seconds
	$(BIN)/python -m pytest -m 'not slow'

lint: $(INSTALLED) ## style and simple mistakes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED) ## mend what lint can mend by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED) ## every script of benchmarks/ (after make demo), results into benchmarks/results/
	set -e; for script in $(wildcard benchmarks/*.py); do $(BIN)/python "$$script"; done

clean: ## back to a fresh checkout
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis recipes/*/exp
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
