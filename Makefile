# Two commands: `make book` and `make test`. Each makes the environment it needs in .venv.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin

# Data files that lie beside the checkout are taken from there instead of being downloaded.
ifneq ($(wildcard ../shared/mirror/MANIFEST.tsv),)
export NOISE_SCALING_MIRROR ?= $(abspath ../shared/mirror)
endif
# One thread a process: Snakemake and pytest fill the cores, and sums come in one order.
export OMP_NUM_THREADS ?= 1
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: help env book test lint reproduce bench gpu-check gpu-sweep clean
.DEFAULT_GOAL := help

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

env: .venv/.made ## make the environment in .venv from pyproject.toml and constraints.txt

.venv/.made: pyproject.toml constraints.txt
	@echo "Making the environment in .venv (a few minutes the first time) ..."
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 13) else \
	  f"Python 3.11 or 3.12 is needed, {v.major}.{v.minor} was found: make PYTHON=python3.11 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --constraint constraints.txt torch
	@$(BIN)/python -m pip install -qq --constraint constraints.txt --editable '.[book,dev]'
	@touch $@

book: .venv/.made ## measure, execute the notebooks, build the book; goes on where it was interrupted
	@$(BIN)/python workflow/run.py workflow/config/demo.yml

test: lint ## run the tests
	@$(BIN)/python -m pytest -n 2 tests

lint: .venv/.made ## ruff, formatting, notebooks
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/python -m pytest -q tests/test_notebooks.py

reproduce: .venv/.made ## measure the small data sets and the departures (hours; stop and start it at will)
	@$(BIN)/noise-scaling restore data/measurements --results build/small/units
	@$(BIN)/noise-scaling restore data/measurements --results build/departures/units
	@$(BIN)/python workflow/run.py workflow/config/small.yml build/small/measurements.csv
	@$(BIN)/python workflow/run.py workflow/config/departures.yml build/departures/measurements.csv

bench: .venv/.made ## run the benchmarks and write benchmarks/results/
	@$(BIN)/python benchmarks/run.py

gpu-check: .venv/.made ## check and time everything on the GPU, or the CPU half where there is none
	@$(BIN)/python benchmarks/gpu_check.py

gpu-sweep: .venv/.made ## measure the published presets on the GPU for MINUTES (25), in an order of which any beginning is useful
	@$(BIN)/python benchmarks/gpu_sweep.py --minutes $(or $(MINUTES),25)

clean: ## remove what was built, keep the environment
	rm -rf build results .snakemake .pytest_cache .ruff_cache
