"""The servers of the table, as child processes on free ports: ours, LiteLLM's proxy, and the upstream of both."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.stack import WORKERS
from benchmarks.table.arms import LITELLM_MODELS, OUR_MODELS, Arm, arms_at
from dev import services
from tests.support.stack import Stack

BENCH_PYTHON = Path(".venv-bench/bin/python")
_KEY = "sk-benchmark"
# Both servers check a key, as they do in production.
_OURS = """
[[providers]]
name = "chat"
adapter = "openai-chat"
base_url = "http://127.0.0.1:{port}/v1"
[[providers]]
name = "native"
adapter = "openai"
base_url = "http://127.0.0.1:{port}/v1"
[[routes]]
model = "{ours}"
provider = "chat"
[[routes]]
model = "{ours-native}"
provider = "native"
[[api_keys]]
tenant = "bench"
sha256 = "{sha256}"
max_open_streams = 2000
"""
# As LiteLLM's pages on production say: a master key, no debug logs, a timeout, one Uvicorn process, `LITELLM_MODE`; no
# database, so nothing is written for a request. `deepseek` is a server of the Chat Completions API without one of the
# Responses API, so LiteLLM's bridge runs.
_LITELLM = """
model_list:
  - model_name: {litellm}
    litellm_params: {{model: openai/fake, api_base: "http://127.0.0.1:{port}/v1", api_key: none}}
  - model_name: {litellm-chat}
    litellm_params: {{model: deepseek/fake, api_base: "http://127.0.0.1:{port}/v1", api_key: none}}
general_settings:
  master_key: {key}
litellm_settings:
  request_timeout: 600
  set_verbose: false
  json_logs: true
"""
_LITELLM_ENV = {
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "NO_PROXY": "127.0.0.1",
    "PYTHONDONTWRITEBYTECODE": "",
}


@dataclass(frozen=True, slots=True)
class Servers:
    """All that runs. `litellm_start` is in seconds, from the process's start to its first answer."""

    stack: Stack
    arms: Mapping[str, Arm]
    litellm_start: float


@asynccontextmanager
async def serving() -> AsyncIterator[Servers]:
    """Everything started, each with nothing to do. Without LiteLLM's environment, its arms are left out."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        ports = {name: services.free_port() for name in ("valkey", "temporal", "api", "upstream", "litellm")}
        sha256 = hashlib.sha256(_KEY.encode()).hexdigest()
        ours = _OURS.format(port=ports["upstream"], sha256=sha256, **OUR_MODELS)
        # What is compiled is kept, as in an installation.
        stack = Stack.at(data, ports, ours, {"PYTHONDONTWRITEBYTECODE": ""})
        stack.services["upstream"] = _upstream(ports["upstream"])
        stack.services["litellm"] = _litellm(data, ports)
        arms = arms_at(
            upstream=ports["upstream"],
            litellm=ports["litellm"],
            api=ports["api"],
            litellm_key=_KEY,
            our_key=_KEY,
            workers=WORKERS,
        )
        try:
            for name in ("upstream", "valkey", "temporal", *WORKERS, "api"):
                await stack.start(name)
            began = time.perf_counter()
            if has_litellm():
                await stack.start("litellm")
            else:
                print("LiteLLM has no environment, and is left out: `make bench` makes it", file=sys.stderr)
                arms = {name: arm for name, arm in arms.items() if name not in LITELLM_MODELS}
            yield Servers(stack, arms, time.perf_counter() - began)
        finally:
            await stack.stop()


def has_litellm() -> bool:
    return BENCH_PYTHON.exists()


def _upstream(port: int) -> services.Service:
    command = (sys.executable, "-m", "benchmarks.load.upstream", str(port))
    return services.Service("upstream", command, lambda: services.port_answers(port))


def _litellm(data: Path, ports: Mapping[str, int]) -> services.Service:
    file = data / "litellm.yaml"
    file.write_text(_LITELLM.format(port=ports["upstream"], key=_KEY, **LITELLM_MODELS))
    options = ("--host", "127.0.0.1", "--port", str(ports["litellm"]), "--config", str(file))
    command = (str(BENCH_PYTHON.absolute().with_name("litellm")), *options)
    return services.Service("litellm", command, lambda: _is_ready(ports["litellm"]), _LITELLM_ENV, folder=data)


async def _is_ready(port: int) -> bool:
    def asked() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health/readiness", trust_env=False).is_success
        except httpx.HTTPError:
            return False

    return await services.port_answers(port) and await asyncio.to_thread(asked)
