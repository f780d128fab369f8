# cardproof: `make` lists the targets.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
IMAGE ?= cpu
BASE ?= registry
VLLM := .venv-vllm
# torch and vLLM have two builds, one for CPUs and one for GPUs, which brings gigabytes of CUDA libraries.
NVIDIA := $(shell command -v nvidia-smi)
TORCH ?= $(if $(NVIDIA),cuda,cpu)
VLLM_BUILD ?= $(if $(NVIDIA),gpu,cpu)
COMMA := ,
VLLM_LOCKS := $(if $(filter gpu,$(VLLM_BUILD)),vllm-gpu,torch-cpu$(COMMA)vllm)

# A virtual environment names its own folder in every script: in a checkout that was renamed or copied, none of them starts.
MOVED := $(shell [ -L .venv ] || [ ! -f $(BIN)/pip ] || head -n 3 $(BIN)/pip | grep -qF '$(CURDIR)/$(BIN)/' || echo moved)
# Number of processes that run test files in parallel. Tests of the whole workflow use two processors each.
WORKERS ?= 2
LOCKS := envs/install.sh $(wildcard envs/lock-torch-*.txt) envs/lock-project.txt envs/lock-data.txt
# Models and data of the demo and the tests come from installed wheels, so nothing needs a network.
OFFLINE := HF_HUB_OFFLINE=1 PATH="$(CURDIR)/$(BIN):$$PATH"

.PHONY: help setup setup-vllm demo test coverage test-browser test-vllm bench rates container test-apptainer test-slurm lint lock generated gallery clean distclean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Install everything into .venv (once; again when a lock file or pyproject.toml changes).

ifeq ($(MOVED),moved)
.PHONY: $(READY)
endif

# What to do where pip fails, whose own words are about packages.
define not_installed
{ echo "cardproof: error: pip could not install what is listed in $(1) (its own words are above)." >&2; \
	echo "Hint: the first set-up needs a network, or PIP_INDEX_URL; run the same command again: what was downloaded is kept." >&2; exit 2; }
endef

$(READY): $(LOCKS) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' || \
	{ echo "cardproof needs Python 3.11 or 3.12; $(PYTHON) is another version, or is missing." >&2; \
	echo "Hint: name one: make setup PYTHON=python3.11" >&2; exit 2; }
	@echo "Installing about 150 packages into .venv: this takes some minutes."
	@rm -f $(READY)
	@if [ "$(MOVED)" ]; then echo "This checkout was renamed or copied, so .venv is made again."; rm -rf .venv; fi
	@$(PYTHON) -m venv .venv || { echo "cardproof: error: $(PYTHON) made no virtual environment in .venv (its own words are above)." >&2; \
	echo "Hint: install its modules venv and ensurepip (Debian: python3-venv), and make sure that this folder can be written." >&2; exit 2; }
	@envs/install.sh torch-$(TORCH),project,data $(BIN)/pip install -q || $(call not_installed,the lock files in envs/)
	@$(BIN)/pip install -q --no-deps -e . || $(call not_installed,pyproject.toml)
	@touch $(READY)

demo: setup ## Regenerate a whole card with embedded data and models (on a CPU, in minutes).
	@$(OFFLINE) bash tools/demo.sh

test: setup ## Run all tests.
	$(OFFLINE) $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

coverage: setup ## Run all tests, and print which share of each room's statements and branches they run.
	$(OFFLINE) $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --cov --cov-branch --cov-report json:.coverage.json
	@$(BIN)/python tools/coverage_of_rooms.py .coverage.json

test-browser: setup ## Test the reviewer's page in Chromium (installs Chromium if it is missing and can be installed).
	tools/install-chromium.sh
	$(OFFLINE) $(BIN)/pytest -rs tests/pages/test_report_browser.py

container: setup ## Build containers/cpu.sif (IMAGE=gpu: gpu.sif; BASE=local: without a registry).
	@tools/container.sh $(IMAGE) $(BASE)

test-apptainer: setup ## Build a container, run the smallest scale in it, and compare with a run without a container.
	@$(OFFLINE) timeout 3500 bash tools/test-apptainer.sh

test-slurm: setup ## Start a one-node SLURM, run the smallest scale on it, and kill one job on the way.
	@$(OFFLINE) timeout 3500 bash tools/test-slurm.sh

# vLLM requires older versions of other packages, so it has its own environment beside .venv.
setup-vllm: $(VLLM)/.ready ## Install vLLM into .venv-vllm: its build for GPUs where there is one (VLLM_BUILD=cpu or gpu to choose).

$(VLLM)/.ready: envs/install.sh envs/lock-vllm.txt envs/lock-vllm-gpu.txt pyproject.toml
	@echo "Installing vLLM's $(VLLM_BUILD) build into $(VLLM): 140 to 190 packages, 4 GB for a CPU and 12 for a GPU; this takes some minutes."
	@rm -f $@
	$(PYTHON) -m venv $(VLLM)
	envs/install.sh $(VLLM_LOCKS) $(VLLM)/bin/pip install -q || $(call not_installed,the lock files in envs/)
	$(VLLM)/bin/pip install -q --no-deps -e .
	@touch $@

test-vllm: setup setup-vllm ## Run the tests of the vLLM backend, and print how far it agrees with the other backend.
	$(OFFLINE) $(BIN)/pytest -s -rs tests/sampling/test_vllm.py

bench: setup ## Time everything beside its peers and print a table of ratios; peers that are not installed are left out.
	$(OFFLINE) $(BIN)/python -m benchmarks

rates: setup ## Count how often verdicts and intervals are wrong, about an hour: benchmarks/results/verdicts.json and its figure.
	CARDPROOF_BENCHMARKS_KEEP=1 $(BIN)/python -m benchmarks.verdicts

lint: setup ## Check style, types, shell scripts and licence information.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile rules workflow
	$(BIN)/shellcheck -x tools/*.sh envs/*.sh .ci/run
	$(BIN)/reuse lint -q || $(BIN)/reuse lint

lock: $(if $(UV),,setup) ## Resolve the lock files in envs/ from pyproject.toml (PACKAGE=NAME: with the newest version of a package).
	@tools/lock.sh $(PACKAGE)

generated: setup ## Write what is generated: config.yaml, docs/config.md, docs/commands.md, schemas/.
	$(BIN)/cardproof config --defaults > .config.tmp && mv .config.tmp config.yaml
	$(BIN)/cardproof config --schema > .config.tmp && mv .config.tmp schemas/config.schema.json
	$(BIN)/python tools/config_doc.py > .config.tmp && mv .config.tmp docs/config.md
	$(BIN)/python tools/commands.py > .config.tmp && mv .config.tmp docs/commands.md
	$(BIN)/python tools/schemas.py

gallery: setup ## Render made-up runs into docs/examples/synthetic, to see every case of card, page and figures.
	PYTHONPATH=tests $(BIN)/python tools/gallery.py

clean: ## Remove the results of the demo and the tests, and all caches; other runs stay.
	rm -rf results/demo results/ci .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* build dist

distclean: clean ## Remove .venv and Snakemake's records as well.
	rm -rf .venv $(VLLM) .snakemake src/*.egg-info
