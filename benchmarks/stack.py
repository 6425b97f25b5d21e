"""The real parts that a benchmark runs on, a fake upstream of known timing beside them, and what they cost."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.processes import cpu_seconds
from dev import services
from tests.support.stack import Stack

WORKERS = ("worker-0", "worker-1")
OURS = ("api", *WORKERS)
CONFIG = """
[[providers]]
name = "fake"
adapter = "openai-chat"
base_url = "http://127.0.0.1:{port}/v1"
[[routes]]
model = "fake"
provider = "fake"
"""


@asynccontextmanager
async def running(
    *,
    head: str = "",
    tail: str = "",
    env: Mapping[str, str] | None = None,
    upstream_module: str = "benchmarks.upstream",
    launched: Callable[[services.Service, Path], services.Service] | None = None,
    workers: Sequence[str] = WORKERS,
) -> AsyncIterator[tuple[Stack, str]]:
    """Temporal, Valkey, `workers` and the API as child processes, and the upstream's address. The configuration has
    more at its beginning and its end; `env` is the environment of ours. `benchmarks.load.upstream` costs less, and has
    no tool calls. `launched` changes the command of each of ours."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        upstream = services.free_port()
        ports = {name: services.free_port() for name in ("valkey", "temporal", "api")}
        stack = Stack.at(data, ports, head + CONFIG.format(port=upstream) + tail, env or {})
        if launched is not None:
            stack.launched = lambda service: launched(service, data)
        command = (sys.executable, "-m", upstream_module, str(upstream))
        stack.services["upstream"] = services.Service("upstream", command, lambda: services.port_answers(upstream))
        try:
            for name in ("upstream", "valkey", "temporal", *workers, "api"):
                await stack.start(name)
            yield stack, f"http://127.0.0.1:{upstream}"
        finally:
            await stack.stop()


def prompt(words: int, gap: float = 0.0, delay: float = 0.0) -> str:
    """What the upstream reads its orders from: so many words, seconds between two, seconds before the first."""
    return json.dumps({"words": words, "gap": gap, "delay": delay})


def cpu(stack: Stack) -> dict[str, float]:
    """CPU seconds of each process so far (Linux)."""
    return {name: cpu_seconds(process.pid) for name, process in stack.processes.items()}


def ms(seconds: float) -> str:
    """As it is printed."""
    return f"{seconds * 1000:.1f} ms"
