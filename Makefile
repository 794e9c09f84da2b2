# The recipes that people and CI share. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup demo serve test faults check release-check bench images clean

PYTHON ?= python3
# onnxruntime and onnxruntime-gpu exclude each other, so one of the two extras: EXTRA=cpu or EXTRA=gpu.
EXTRA ?= $(shell nvidia-smi -L 2>/dev/null | grep -q '^GPU' && echo gpu || echo cpu)
# Passed on to pytest, the demo, the server or the benchmarks: make test ARGS='-m slow', make serve ARGS='--port 3001'
ARGS ?=
IMAGES ?= serve train

BIN := .venv/bin
# The stamp makes `.venv` stale when what it was installed from changes, and only then.
# A `.venv` that is a link is somebody's own environment: it is used as it is.
STAMP := $(if $(shell test -L .venv && echo link),,.venv/.installed-$(EXTRA))

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: $(STAMP) ## Make .venv with everything in it (first time: about 6 GB and some minutes)

demo: $(STAMP) ## Start the service, teach it handwritten digits over HTTP, and leave it running
	@$(BIN)/python -m examples.demo $(ARGS)

serve: $(STAMP) ## Run the service and a training worker on http://127.0.0.1:3000
	@$(BIN)/espalier serve $(ARGS)

test: $(STAMP) ## Run the tests (not those marked slow: make test ARGS='-m slow')
	@$(BIN)/python -m pytest -n auto --maxprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

# All tests that docs/reference/faults.md names; CI runs those of tests/faults here and the others among all.
FAULTS ?= $(shell grep -o 'tests/[a-z0-9_/]*\.py' docs/reference/faults.md | sort -u)
faults: $(STAMP) ## Break what the service needs, and see what holds (all of it as root, with PostgreSQL, strace, faketime)
	@$(BIN)/python -m pytest -n auto --maxprocesses 2 --dist loadfile --no-loadscope-reorder -m 'slow or not slow' $(ARGS) $(FAULTS)

check: $(STAMP) ## Lint, formatting, types, and which layer may import which
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

release-check: ## Say what is in the way of a release of this commit; see docs/releasing.md
	@$(PYTHON) .ci/release_check.py

bench: $(STAMP) ## Measure speed and memory; results go to benchmarks/results
	@$(BIN)/python -m benchmarks $(ARGS)

images: ## Build the images espalier:serve and espalier:train with docker or podman (IMAGES=serve: that one)
	@deploy/images/build.sh $(IMAGES)

clean: ## Remove caches and .venv; what the service has learned (.espalier) stays
	@rm -rf .venv build dist ./*.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.installed-%: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "Espalier needs Python 3.11 to 3.13; name one with: make PYTHON=python3.12"; exit 1; }
	@echo "Setting up .venv for $* (the first time this downloads torch, about 6 GB installed, and takes some minutes)"
	@$(BIN)/python -m pip --version > /dev/null 2>&1 || $(PYTHON) -m venv --clear .venv || \
		{ echo "$(PYTHON) makes no .venv with pip; on Debian and Ubuntu install python3-venv"; exit 1; }
	@{ { test -e $@ || $(BIN)/python -m pip uninstall --quiet --yes onnxruntime onnxruntime-gpu; } && \
		$(BIN)/python -m pip install -c constraints.txt -e '.[$*,train,dev,postgres,heic,otel]'; } > .venv/install.log 2>&1 || \
		{ tail -n 30 .venv/install.log; echo "The installation failed; all of its output is in .venv/install.log"; exit 1; }
	@rm -f .venv/.installed-* && touch $@
