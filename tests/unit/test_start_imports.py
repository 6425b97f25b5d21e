"""A process starts without the libraries that only some configurations, or only some requests, need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Of tool calls, checks of schemas, counts of tokens, prices, spans, PostgreSQL, and of parts that no process uses.
NEVER = (
    "activities.tools.mcp_client",
    "bpe_openai",
    "genai_prices",
    "httpx._main",
    "httpx2",
    "mcp",
    "mcp_types",
    "opentelemetry.sdk",
    "psycopg",
    "psycopg_pool",
    "pygments",
    "rich",
    "tiktoken",
)
HEAVY = {
    "processes.worker_alone": (
        *NEVER,
        # The API's.
        *("api", "fastapi", "starlette", "uvicorn", "websockets", "click"),
        # Imported in a thread, for the first model call.
        *("aiohttp", "httpx_aiohttp"),
        # The configuration names those that are needed.
        *(f"activities.providers.{name}" for name in ("anthropic", "gemini", "ollama", "openai", "openai_chat")),
    ),
    "api.main": (*NEVER, "activities", "aiohttp", "httpx", "httpx_aiohttp", "temporalio.worker"),
    # Each of the command line's commands imports this.
    "open_responses.cli.main": ("api", "fastapi", "processes", "pydantic", "redis", "structlog", "temporalio"),
}


@pytest.mark.parametrize("module", HEAVY)
def test_a_process_imports_what_it_needs_to_start(module: str) -> None:
    program = (
        "import sys\n"
        "from open_responses.io.lean_imports import lean_imports\n"
        "with lean_imports():\n"
        f"    import {module}\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    loaded = set(done.stdout.split())
    assert module in loaded
    assert not loaded & set(HEAVY[module])


def test_the_apis_program_leaves_out_what_no_process_uses() -> None:
    program = (
        "import sys, uvicorn\n"
        "from api.__main__ import main\n"
        "uvicorn.run = lambda *_, **__: print(*sys.modules)\n"
        "sys.argv = ['api']\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    loaded = set(done.stdout.split())
    assert "api.application" in loaded
    assert not loaded & set(NEVER)


@pytest.mark.campaign
def test_every_model_can_be_built() -> None:
    """Building is deferred, so an import does not show a mistake in a field."""
    program = (
        "import api.main, processes.worker_alone\n"
        "from open_responses.loop.payloads.start import StartResponse\n"
        "from open_responses.schema.deferred import build_models\n"
        "from open_responses.schema.requests import CreateResponse\n"
        "from open_responses.schema.items import INPUT_ITEM\n"
        "assert not INPUT_ITEM.pydantic_complete\n"
        "assert not StartResponse.__pydantic_complete__ and not CreateResponse.__pydantic_complete__\n"
        "build_models()\n"
        "assert INPUT_ITEM.pydantic_complete\n"
        "assert StartResponse.__pydantic_complete__ and CreateResponse.__pydantic_complete__\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=120, check=True)


def test_parts_that_were_left_out_can_be_imported_later() -> None:
    """By a tool of the operator's, or to export spans."""
    program = (
        "import gc, sys\n"
        "from open_responses.io.lean_imports import lean_imports\n"
        "with lean_imports():\n"
        "    import structlog\n"
        "    assert 'rich' in sys.modules and not gc.isenabled()\n"
        "assert 'rich' not in sys.modules and gc.isenabled()\n"
        "import opentelemetry.sdk, httpx._main\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=120, check=True)
