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

.PHONY: help env book test lint style reproduce bench ten-million gpu-check gpu-sweep clean
.DEFAULT_GOAL := help

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

env: .venv/.made ## make the environment in .venv from pyproject.toml and constraints.txt

# TORCH=cpu or cuda says which build of torch; without it the one in .venv stays, and a new .venv gets CUDA where there
# is an NVIDIA driver. On Linux plain pip brings CUDA, gigabytes of it, so the CPU build is looked for at PyTorch first.
CPU_WHEELS := https://download.pytorch.org/whl/cpu
DRIVER := $(wildcard /dev/nvidiactl)$(shell command -v nvidia-smi)
PIP := $(BIN)/python -m pip install -qq --constraint constraints.txt
ifneq ($(filter-out $(shell cat .venv/.made 2>/dev/null),$(TORCH)),)
.venv/.made: FORCE
endif

.venv/.made: pyproject.toml constraints.txt
	@test -z "$(filter-out cpu cuda,$(TORCH))" || { echo "TORCH is $(TORCH): give cpu or cuda" >&2; exit 1; }
	@$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -c 'import sys; v = sys.version_info; sys.exit( \
	  None if (3, 11) <= v < (3, 15) else "Python 3.11, 3.12, 3.13 or 3.14 is needed, %d.%d was found: %s" % \
	  (v[0], v[1], "make PYTHON=python3.12 ... (delete .venv first if there is one)"))'
	@echo "Making the environment in .venv (a few minutes the first time) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -z "$(TORCH)" || test "$(TORCH)" = "$$(cat $@ 2>/dev/null)" || $(BIN)/python -m pip uninstall -qq -y torch
	@test $(or $(TORCH),$(if $(DRIVER),cuda,cpu)) = cuda || \
	  $(PIP) -q --no-deps --index-url $(CPU_WHEELS) --timeout 10 --retries 0 torch 2>/dev/null || \
	  echo "$(CPU_WHEELS) has no torch for this Python or cannot be reached: plain pip is used"
	@$(PIP) torch
	@$(PIP) --editable '.[book,dev]'
	@$(BIN)/python -c 'import torch; cuda = torch.version.cuda; "$(TORCH)" == "cuda" and not cuda and exit( \
	  "TORCH=cuda was asked for, but pip found only torch " + torch.__version__ + ": name an index that has it in PIP_INDEX_URL"); \
	  print("torch", torch.__version__, "with CUDA " + cuda if cuda else "for the CPU"); \
	  open("$@", "w").write("$(TORCH)" or ("cuda" if cuda else "cpu"))'

FORCE:

book: .venv/.made ## measure, execute the notebooks, build the book; goes on where it was interrupted
	@$(BIN)/python workflow/run.py workflow/config/demo.yml

test: style ## run the tests, or those of TESTS='FILE FOLDER ...'
	@$(BIN)/python -m pytest -n 2 --dist worksteal $(or $(TESTS),tests)

lint: style ## ruff, formatting, types, notebooks
	@$(BIN)/python -m pytest -q tests/test_notebooks.py

style: .venv/.made
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy --no-error-summary

reproduce: .venv/.made ## measure all data sets at hand and the ablations (days of a core; stop and start it at will)
	@$(BIN)/noise-scaling restore data/measurements --results build/campaign/units
	@$(BIN)/noise-scaling restore data/measurements --results build/ablations/units
	@$(BIN)/python workflow/run.py workflow/config/campaign.yml build/campaign/measurements.csv
	@$(BIN)/python workflow/run.py workflow/config/ablations.yml build/ablations/measurements.csv
	@$(BIN)/python workflow/scripts/keep.py workflow/config/campaign.yml workflow/config/ablations.yml

bench: .venv/.made ## run the benchmarks and write benchmarks/results/
	@$(BIN)/python benchmarks/run.py

ten-million: .venv/.made ## simulate an atlas of 10^7 cells (40 GB of disk) and measure it (hours; stop and start it at will)
	@$(BIN)/python benchmarks/ten_million.py

gpu-check: .venv/.made ## check and time everything on the GPU, or the CPU half where there is none
	@$(BIN)/python benchmarks/gpu_check.py

gpu-sweep: .venv/.made ## train the published Geneformer on the GPU for MINUTES (25), WORKERS (4) at a time; any beginning is useful
	@$(BIN)/python benchmarks/gpu_sweep.py --minutes $(or $(MINUTES),25) --workers $(or $(WORKERS),4)

clean: ## remove what was built, keep the environment
	rm -rf build results .snakemake .pytest_cache .ruff_cache
