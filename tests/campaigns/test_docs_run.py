"""The commands of the documentation do what it says, against real servers."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from tests.support.code_blocks import blocks
from tests.support.stack import Stack

pytestmark = pytest.mark.campaign


async def run(command: list[str], stdin: str, env: dict[str, str] | None = None) -> str:
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        input=stdin,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def test_the_first_request_of_the_readme_prints_a_readable_answer(stack: Stack) -> None:
    await stack.start_local_model()
    (block,) = [block for block in blocks("sh", page="README.md") if "curl" in block.text]
    said = await run(["bash", "-euo", "pipefail"], block.text.replace("http://127.0.0.1:8080", stack.api_url))
    assert len(said.split()) > 10
    assert "{" not in said


async def test_the_sdks_example_of_the_readme_streams(stack: Stack) -> None:
    await stack.start_local_model()
    (block,) = blocks("python", page="README.md")
    said = await run([sys.executable, "-"], block.text.replace("http://127.0.0.1:8080", stack.api_url))
    assert len(said.split()) > 10


async def test_the_commands_that_set_up_temporal_work(stack: Stack) -> None:
    (block,) = [block for block in blocks("sh", page="operations.md") if "namespace create" in block.text]
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    env = {"TEMPORAL_ADDRESS": stack.temporal_address, "PATH": path}
    said = await run(["bash", "-euo", "pipefail"], block.text, env)
    for name in ("OpenResponsesModel", "OpenResponsesTools", "OpenResponsesCostUsd"):
        assert name in said
    query = 'temporal workflow list --query "TemporalReportedProblems IS NOT NULL"'
    assert query in (blocks("sh", page="operations.md")[0].page.read_text(encoding="utf-8"))
    await run(["bash", "-euo", "pipefail"], query, env)
