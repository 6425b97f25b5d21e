"""The real parts that a benchmark runs on, a fake upstream of known timing beside them, and what they cost."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

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
    *, head: str = "", tail: str = "", env: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[Stack, str]]:
    """Temporal, Valkey, two workers and the API as child processes, and the upstream's address. The configuration has
    more at its beginning and its end; `env` is the environment of ours."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        upstream, valkey, temporal, api = (services.free_port() for _ in range(4))
        (data / "config.toml").write_text(head + CONFIG.format(port=upstream) + tail)
        stack = Stack(data)
        stack.redis_url, stack.temporal_address = f"redis://127.0.0.1:{valkey}/0", f"127.0.0.1:{temporal}"
        stack.api_url = f"http://127.0.0.1:{api}"
        stack.env = {
            "TEMPORAL_ADDRESS": stack.temporal_address,
            "REDIS_URL": stack.redis_url,
            "OPEN_RESPONSESCONFIG": str(data / "config.toml"),
            "OPEN_RESPONSES_DATA_DIR": str(data),
            **(env or {}),
        }
        command = (sys.executable, "-m", "benchmarks.upstream", str(upstream))
        stack.services = {
            "upstream": services.Service("upstream", command, lambda: services.port_answers(upstream)),
            "valkey": services.valkey(valkey, data),
            "temporal": services.temporal(temporal, data),
            "api": services.api(api, stack.env),
        }
        try:
            for name in ("upstream", "valkey", "temporal", *WORKERS, "api"):
                await stack.start(name)
            yield stack, f"http://127.0.0.1:{upstream}"
        finally:
            await stack.stop()


def prompt(words: int, gap: float = 0.0, delay: float = 0.0) -> str:
    """What the upstream reads its orders from: so many words, seconds between two, seconds before the first."""
    return json.dumps({"words": words, "gap": gap, "delay": delay})


def cpu(stack: Stack) -> dict[str, float]:
    """CPU seconds of each process so far (Linux)."""
    seconds = {}
    for name, process in stack.processes.items():
        fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        seconds[name] = (int(fields[11]) + int(fields[12])) / 100
    return seconds


def resident_mib(stack: Stack) -> float:
    """Memory of the API and the workers (Linux)."""
    pages = [int(Path(f"/proc/{stack.processes[name].pid}/statm").read_text().split()[1]) for name in OURS]
    return sum(pages) * 4096 / 2**20


def ms(seconds: float) -> str:
    """As it is printed."""
    return f"{seconds * 1000:.1f} ms"
