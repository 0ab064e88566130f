# Everything a developer does, from a bare clone on a machine with Python 3.11 or newer, git and make.
# `make` alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --quiet
COMPILE := $(BIN)/pip-compile --quiet --strip-extras --allow-unsafe --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options

# Names that exist but do not run (version managers leave such), or that lack venv, are passed over.
USABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
PYTHONS := python3.11 python3.12 python3.13 python3.14 python3 python /usr/bin/python3 /bin/python3

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: install
install: $(STAMP) ## make .venv with everything at its locked version

$(STAMP): requirements.lock pyproject.toml
	@if ! $(BIN)/python -c '$(USABLE)' 2>/dev/null; then \
		for python in $(PYTHONS); do \
			if "$$python" -c '$(USABLE)' >/dev/null 2>&1; then found=$$python; break; fi; \
		done; \
		if [ -z "$${found:-}" ]; then \
			echo "make: needs Python 3.11 or newer with venv and ensurepip; tried: $(PYTHONS)" >&2; exit 1; \
		fi; \
		"$$found" -m venv --clear $(VENV); \
	fi
	@$(PIP) install --require-hashes --requirement requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: check
check: lint types contracts test ## everything that must hold before a commit

.PHONY: lint
lint: $(STAMP) ## ruff: rules and format
	@$(BIN)/ruff check --quiet --output-format concise .
	@$(BIN)/ruff format --check --quiet . || { echo "not formatted; run: make format" >&2; exit 1; }

.PHONY: format
format: $(STAMP) ## ruff: repair what it can, and format
	@$(BIN)/ruff check --quiet --fix . || true
	@$(BIN)/ruff format --quiet .

.PHONY: types
types: $(STAMP) ## mypy, strict
	@$(BIN)/mypy --no-error-summary

.PHONY: contracts
contracts: $(STAMP) ## import-linter: layers, and a core that does not reach the world
	@report=$$($(BIN)/lint-imports --no-cache 2>&1) || { echo "$$report" >&2; exit 1; }

# As many processes as there are cores, but never more: each keeps the tests and the libraries in memory, half a gigabyte.
WORKERS ?= auto
PYTEST := $(BIN)/python -m pytest --quiet --numprocesses $(WORKERS) --maxprocesses 8 --dist worksteal

.PHONY: test
test: $(STAMP) ## the tests, on all cores; ARGS="..." goes to pytest, WORKERS=0 takes one process
	@$(PYTEST) $(ARGS)

.PHONY: coverage
coverage: $(STAMP) ## the tests with branch coverage, likewise
	@$(PYTEST) --cov --cov-report=term-missing $(ARGS)

.PHONY: serve
serve: $(STAMP) ## the service on this machine, on an emulated cloud; ARGS="..." goes to mistral-local
	@$(BIN)/mistral-local serve $(ARGS)

.PHONY: demo
demo: $(STAMP) ## a guided run of a few workflows
	@$(BIN)/python examples/demo.py $(ARGS)

.PHONY: bench
bench: $(STAMP) ## the budgets, counted
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: lock
lock: $(STAMP) ## renew requirements.lock from pyproject.toml; UPGRADE=--upgrade takes the newest versions
	@$(COMPILE) --all-extras --generate-hashes $(UPGRADE) --output-file requirements.lock pyproject.toml

# Chalice's packager reads requirements.txt alone, and carries its own runtime into the package: named there, chalice would
# bring its command line along (pip, setuptools, a terminal toolkit). EXTRAS: whose libraries are packed, of pyproject.toml.
EXTRAS ?= ssh javascript

.PHONY: requirements
requirements: $(STAMP) ## requirements.txt for Chalice's packager: what runs in Lambda, at its locked version
	@$(BIN)/python -c 'import tomllib; \
		project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
		extras = project["optional-dependencies"]; \
		needs = project["dependencies"] + [need for name in "$(EXTRAS)".split() for need in extras[name]]; \
		print(*(need for need in needs if not need.startswith("chalice")), sep="\n")' \
		| $(COMPILE) --constraint requirements.lock --output-file requirements.txt -

STAGE ?= dev
REGION ?= us-east-1
BYTES_MAX ?= 20000000

.PHONY: package
package: requirements ## the package and the template of a deployment, in dist/STAGE; STAGE=dev REGION=us-east-1
	@$(BIN)/python -m infra.package --stage $(STAGE) --region $(REGION) --bytes-max $(BYTES_MAX)

.PHONY: deploy
deploy: package ## package, and bring it to your AWS account, or bring it up to date; ARGS="--parameter NAME=VALUE"
	@$(BIN)/python -m infra.deploy up --stage $(STAGE) --region $(REGION) $(ARGS)

.PHONY: destroy
destroy: $(STAMP) ## take a deployment away; what it has stored stays, but for ARGS=--delete-data
	@$(BIN)/python -m infra.deploy down --stage $(STAGE) --region $(REGION) $(ARGS)

.PHONY: audit
audit: $(STAMP) ## known vulnerabilities of the pinned packages; ARGS=--strict fails where the database cannot be asked
	@$(BIN)/python -m infra.audit $(ARGS)

.PHONY: clean
clean: ## remove what was made here, .venv too
	@rm -rf $(VENV) build dist ./*.egg-info .coverage htmlcov .hypothesis .import_linter_cache .mypy_cache \
		.pytest_cache .ruff_cache requirements.txt .chalice/deployments
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
