# Everything is run from here; `make help` lists it. Nothing but python3 (3.11 or newer) and make is needed.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.synced
UV := $(shell command -v uv 2>/dev/null || echo $(CURDIR)/.uv/bin/uv)
WORKDIR ?= work
RUN_WITH_ENV := env -u PYTHONPATH

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

$(UV):
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check uv

$(STAMP): requirements/dev.txt pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	$(UV) pip sync --quiet --compile-bytecode --require-hashes --python $(BIN)/python requirements/dev.txt
	$(UV) pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python --editable .
	@touch $(STAMP)

.PHONY: setup
setup: $(STAMP) ## make the environment in .venv (first time: about 7 GB)

.PHONY: demo
demo: setup cluster-packages ## seed questions -> dataset on a real cluster on this machine (Linux, root), with the tiny example models
	$(RUN_WITH_ENV) $(BIN)/python examples/cluster_demo.py examples/tiny-math.yaml --workdir $(WORKDIR)

.PHONY: demo-local
demo-local: setup ## the same run without a cluster
	$(RUN_WITH_ENV) $(BIN)/python examples/demo.py examples/tiny-math.yaml --workdir $(WORKDIR)

.PHONY: smollm2
smollm2: setup ## the same with a real public model (SmolLM2-135M-Instruct), a few dozen rows
	$(RUN_WITH_ENV) $(BIN)/python examples/smollm2/convert.py $(WORKDIR)/models/smollm2-135m-instruct
	$(RUN_WITH_ENV) $(BIN)/scalequest local examples/smollm2-math.yaml --workdir $(WORKDIR)

.PHONY: check
check: setup ## formatting, lint, types, import contracts, spelling, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(MAKE) --no-print-directory generate
	git diff --exit-code -- crds docs/reference charts

.PHONY: test
test: check cluster-build ## all checks and tests
	$(RUN_WITH_ENV) $(BIN)/pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder

.PHONY: quick
quick: setup ## the tests that load no engine and run no example
	$(RUN_WITH_ENV) $(BIN)/pytest -m "not engine and not demo and not s3 and not cluster and not schedules"

.PHONY: generate
generate: setup ## write the CRD, the chart's copy and schema, and the reference pages
	$(BIN)/python -m scalequest_jobs.generate
	$(BIN)/python -m scalequest_operator.generate

.PHONY: cluster
cluster: setup cluster-packages ## start a real Kubernetes cluster with two nodes and an S3 server on this machine (Linux, root)
	PYTHONPATH=tests $(BIN)/python -m cluster.lab up

.PHONY: cluster-down
cluster-down: setup ## stop that cluster and remove what it made; images and programs stay cached
	PYTHONPATH=tests $(BIN)/python -m cluster.lab down

.PHONY: bench-control-plane
bench-control-plane: setup ## measure the operator with 300 runs on a real control plane without real nodes (10 minutes)
	PYTHONPATH=tests $(BIN)/python -m benchmarks.control_plane

.PHONY: cluster-build
cluster-build: setup cluster-packages ## build the cluster's programs and images, which are cached (first time: 10 to 20 minutes)
	PYTHONPATH=tests $(BIN)/python -m cluster.lab build

.PHONY: cluster-packages
cluster-packages: ## install the Debian packages that the cluster needs, when root and one is missing
	tests/cluster/install-packages.sh

.PHONY: requirements
requirements: | $(UV) ## resolve the hash-pinned requirement files anew
	UV=$(UV) requirements/compile.sh

.PHONY: clean
clean: ## remove what runs and tests left (the environment stays)
	rm -rf $(WORKDIR) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
