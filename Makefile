# Every target sets up what it needs; Python 3.11 or newer and make are enough.

VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/.installed

# The first interpreter that runs and is new enough; empty when there is none.
PYTHON := $(shell for python in python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)

NEED_PYTHON = if [ -z "$(PYTHON)" ]; then \
	echo "unseen: error: no Python 3.11 or newer found as python3.11 or python3" >&2; \
	echo "unseen: hint: install one, or put it first on PATH" >&2; exit 1; fi

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test attacks faults check coverage bench figures experiments lock clean

help:  ## Show this list.
	@sed -n 's/^\([a-z]*\):.*##  *\(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

$(STAMP): pyproject.toml requirements.lock
	@$(NEED_PYTHON)
	@echo "Setting up $(VENV): the first time takes a minute or two and 2 GB."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint requirements.lock --editable '.[dev]'
	@touch $@

run: $(STAMP)  ## Train on encrypted updates and print the results table.
	@$(BIN)/unseen run

test: $(STAMP)  ## Run every test.
	@$(BIN)/python -m pytest

attacks: $(STAMP)  ## Show every attack, without its defence and with it.
	@$(BIN)/python -m pytest -q --no-header -m attack --attack-table tests/test_attacks_*.py

faults: $(STAMP)  ## Kill, stop and starve real runs, and show what is lost.
	@$(BIN)/python -P -m experiments.faults

check: $(STAMP)  ## Check format, lint, types and import rules.
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy . && $(BIN)/lint-imports

coverage: $(STAMP)  ## Measure branch coverage of crypto/.
	@$(BIN)/python -m pytest --cov --cov-report=term

bench: $(STAMP)  ## Time the encryption, beside phe in the same run.
	@$(BIN)/python -m experiments.bench

figures: $(STAMP)  ## Train everything and draw the README's figures; DATA=DIR.
	@$(BIN)/python -m experiments.figures $(if $(DATA),--data $(DATA))

experiments: $(STAMP)  ## Run the privacy experiments; DATA=DIR, QUICK=1.
	@$(BIN)/python -m experiments.privacy $(if $(DATA),--data $(DATA)) $(if $(QUICK),--quick)

lock:  ## Resolve every dependency anew into requirements.lock.
	@$(NEED_PYTHON)
	@echo "Resolving into $(VENV)-lock: takes a minute or two."
	@rm -rf $(VENV)-lock && $(PYTHON) -m venv $(VENV)-lock
	@$(VENV)-lock/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@$(VENV)-lock/bin/python -m pip freeze --exclude-editable > $(VENV)-lock/frozen
	@# A local build label such as torch's +cpu names one machine's wheel, not the version.
	@sed 's/+.*//' $(VENV)-lock/frozen > requirements.lock
	@rm -rf $(VENV)-lock

clean:  ## Remove the environment and caches; runs and keys stay.
	@rm -rf $(VENV) $(VENV)-lock .coverage .hypothesis .import_linter_cache .mypy_cache \
		.pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
