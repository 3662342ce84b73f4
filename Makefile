# resexp: `make help` lists the targets. Everything is installed into .venv, with the versions of constraints.txt.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
# Small networks run up to fifty times slower on several threads of one operation than on one.
export OMP_NUM_THREADS := 1

# One target for each entry of experiments.yaml, read from the file itself.
ENTRIES := $(shell sed -n '/^experiments:/,$$ s/^  \([A-Za-z0-9][A-Za-z0-9._-]*\):.*$$/\1/p' experiments.yaml)

.PHONY: help install run test check-style check-types pytest test-slow experiments figures chapter docs release bench torture bias calibrate picture clean $(ENTRIES)

help: ## list the targets
	@echo "Targets:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)$$/  \1\t\2/p' Makefile | expand -t 18
	@echo "Entries of experiments.yaml:"
	@printf '  %s\n' $(ENTRIES)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e '.[report]'
	$(BIN)/resexp schema > experiments.schema.json
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) -e '.[dev]'
	@touch $@

install: $(VENV)/.installed ## make .venv and install resexp into it

run: $(VENV)/.installed ## resexp variance --depth 50
	$(BIN)/resexp variance --depth 50

test: check-style check-types pytest ## the whole check: ruff, mypy, pytest

check-style: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check-types: $(VENV)/.installed-dev
	$(BIN)/mypy

pytest: $(VENV)/.installed-dev
	$(BIN)/pytest -n 2 -m "not slow"

test-slow: $(VENV)/.installed-dev ## what make test leaves out: a release built and tried, notebooks run afresh
	$(BIN)/pytest -n 2 -m slow

experiments: $(VENV)/.installed ## run the whole experiments.yaml
	$(BIN)/resexp run experiments.yaml

chapter: $(VENV)/.installed ## every figure, equation and problem of the chapter, ending in results/chapter.html
	$(BIN)/resexp chapter

docs: $(VENV)/.installed ## the documentation as pages in site/; its front page is the chapter
	$(BIN)/python docs/site/build.py

figures: $(filter figure-%,$(ENTRIES)) ## draw all figures; make -j2 figures: two at a time

# Under make -j each target is one process; alone it may use all cores.
$(ENTRIES): $(VENV)/.installed
	$(BIN)/resexp run experiments.yaml --only $@ $(if $(filter -j%,$(MAKEFLAGS)),-j1)

release: $(VENV)/.installed-dev ## build wheel and sdist twice, compare, and try them in a clean environment; publishes nothing
	scripts/publish.sh --dry-run

bench: $(VENV)/.installed ## speed against two plainly written baselines and the machine's limit
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/gradients.py
	$(BIN)/python benchmarks/probe.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/landscape.py

torture: $(VENV)/.installed-dev ## kill batches at random moments, and see that nothing is lost
	$(BIN)/python benchmarks/torture.py

bias: $(VENV)/.installed ## how far measurements lie from limits, beside the declared bounds
	$(BIN)/python benchmarks/bias.py

calibrate: $(VENV)/.installed ## how often the verdict is wrong, and what it catches
	$(BIN)/python benchmarks/calibrate.py

picture: $(VENV)/.installed ## draw the README's picture of a terminal again
	FORCE_COLOR=1 COLUMNS=118 $(BIN)/resexp variance --depth 50 --format table --no-save -q \
	    | $(BIN)/python docs/picture.py > docs/terminal.svg

clean: ## remove .venv, caches and build products; results stay
	rm -rf $(VENV) dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
