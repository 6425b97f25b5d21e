"""`make research` ends well on a busy machine, where a worker takes longer to start than the pause between kills."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

pytestmark = pytest.mark.campaign


@pytest.fixture
def load() -> Iterator[None]:
    """Two processes for each core that do nothing else than use it."""
    command = [sys.executable, "-S", "-c", "while True: pass"]
    busy = [subprocess.Popen(command) for _ in range(2 * (os.cpu_count() or 1))]
    yield
    for process in busy:
        process.kill()
        process.wait()


@pytest.mark.timeout(400)
async def test_the_research_agent_finishes_under_load(load: None) -> None:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "examples.research_agent"],
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert "[kill -9 of worker-" in done.stdout, "no worker was killed"
    assert "NOT " not in done.stdout
