"""`make bench-adapters`: CPU per 1,000 deltas of each adapter, against LiteLLM's translation of the same stream.

What is measured, each in a process of its own, by turns, on the same bytes from one server on loopback:
- bytes: aiohttp reads the answer and does nothing with it; the floor.
- ours: request and answer of the adapter over `open_http_client`, the middlewares' composition (of none), Joiner,
  Assembler with its fold, and each event encoded as the log has it. Not the log itself.
- LiteLLM's two ways: see `litellm_side`. They end with objects, which nothing encodes: this is in its favour.

CPU of the whole process (`process_time`): the collector runs, and finds what was there before frozen. Medians of
rounds; ratios are medians of each round's own. `--pause 1` sends an event each millisecond instead of all at once, so
that each is read by itself; `--profile VENDOR` shows where our time goes.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import json
import os
import pstats
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx

from activities.providers.registry import build_providers
from activities.providers.shared.http import open_http_client
from benchmarks.adapters.streams import CALL, TEXT, VENDORS, deltas_of, pieces
from dev import services
from open_responses.config import Config, ProviderConfig
from open_responses.contracts import SampleCall, SampleContext
from open_responses.deltas import Finish
from open_responses.events.assembler import Assembler
from open_responses.events.surrogates import Joiner
from open_responses.io.log.encoding import encode
from open_responses.middleware.compose import compose_sample
from open_responses.schema.requests import CreateResponse

_BENCH_PYTHON = ".venv-bench/bin/python"
_MODELS = {
    "openai": "gpt-5.1",
    "openai-chat": "model-1",
    "anthropic": "claude-sonnet-4-5",
    "gemini": "gemini-2.5-flash",
    "ollama": "qwen3",
}
_PATHS = {"openai": "/v1", "openai-chat": "/v1"}
_TOOL = {"type": "function", "name": CALL, "parameters": {"type": "object", "properties": {}}}
_WAYS = ("bytes", "ours", "acompletion", "aresponses")
_NOTES = {
    ("openai", "acompletion"): "its bridge from the Responses API to chunks",
    ("openai", "aresponses"): "passes the vendor's own events on, translates nothing",
}
_AIM = 1 / 3


# --- ours, in a process of its own


class _Ours:
    """Kept from round to round, as a worker keeps its client and its adapters."""

    def __init__(self, base_url: str, http: httpx.AsyncClient, bare: aiohttp.ClientSession) -> None:
        providers = tuple(
            ProviderConfig(name=vendor, adapter=vendor, base_url=_at(base_url, vendor) + _PATHS.get(vendor, ""))
            for vendor in VENDORS
        )
        self._providers = build_providers(Config(providers=providers), http, {})
        self._base_url = base_url
        self._bare = bare

    async def seconds(self, way: str, vendor: str) -> float:
        """CPU of one stream."""
        gc.collect()
        began = time.process_time()
        if way == "bytes":
            await self._bytes(vendor)
        elif await self.turn(vendor) != "".join(pieces(TEXT)):
            raise ValueError(f"ours of {vendor} lost some of the text")
        return time.process_time() - began

    async def _bytes(self, vendor: str) -> None:
        async with self._bare.post(_at(self._base_url, vendor)) as response:
            async for _ in response.content.iter_any():
                pass

    async def turn(self, vendor: str) -> str:
        """One turn as the worker takes it (`activities/sampling/attempt.py`), up to the log. Returns the text."""
        sample = compose_sample((), lambda passed: self._providers[vendor].sample(passed.call))
        context = SampleContext(_call(_MODELS[vendor]), "resp_1", "default")
        assembler, joiner, written = Assembler(response_id="resp_1"), Joiner(), 0
        async for delta in sample(context):
            events = assembler.close("completed") if isinstance(delta, Finish) else assembler.feed(joiner.clean(delta))
            for event in events:
                encode(event, written)
                written += 1
        messages = [item for item in assembler.fold.output if item["type"] == "message"]
        return "".join(part["text"] for message in messages for part in message["content"])


@asynccontextmanager
async def _ours(base_url: str) -> AsyncIterator[_Ours]:
    async with open_http_client() as http, aiohttp.ClientSession() as bare:
        ours = _Ours(base_url, http, bare)
        gc.freeze()
        yield ours


def _at(base_url: str, vendor: str) -> str:
    return base_url.replace("VENDOR", vendor)


def _call(model: str) -> SampleCall:
    request = CreateResponse.model_validate({"model": model, "input": "How is the river?", "tools": [_TOOL]})
    tools = [tool for tool in request.tools or [] if tool.type == "function"]
    return SampleCall(model=model, items=request.input_items(), request=request, tools=tools)


async def _answer_parent(base_url: str) -> None:
    async with _ours(base_url) as ours:
        for line in sys.stdin:
            asked = json.loads(line)
            print(json.dumps({"seconds": await ours.seconds(asked["way"], asked["vendor"])}), flush=True)


async def _profile(vendor: str, base_url: str) -> None:
    async with _ours(base_url) as ours:
        await ours.turn(vendor)
        with cProfile.Profile() as profile:
            for _ in range(5):
                await ours.turn(vendor)
    pstats.Stats(profile).sort_stats("tottime").print_stats(30)


# --- the comparison


class _Side:
    """A child process that measures when it is asked."""

    def __init__(self, *command: str) -> None:
        # Without our environment: what LiteLLM would find in it is none of its business here.
        env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def measure(self, way: str, vendor: str, base_url: str) -> float:
        """CPU seconds of one stream. Raises RuntimeError."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"way": way, "vendor": vendor, "base_url": base_url}) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline() or '{"error": "the process has died"}')
        if "error" in answer:
            raise RuntimeError(f"{way} of {vendor}: {answer['error']}")
        return float(answer["seconds"])


@contextmanager
def _side(*command: str) -> Iterator[_Side]:
    side = _Side(*command)
    try:
        yield side
    finally:
        side.process.kill()
        side.process.wait()


@contextmanager
def _server(pause: int) -> Iterator[str]:
    """The address, with VENDOR in it."""
    port = services.free_port()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.adapters.streams", str(port)])
    try:
        while not asyncio.run(services.port_answers(port)):
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/VENDOR/{pause}" if pause else f"http://127.0.0.1:{port}/VENDOR"
    finally:
        process.kill()
        process.wait()


def _compare(base_url: str, rounds: int) -> None:
    with ExitStack() as stack:
        ours = stack.enter_context(_side(sys.executable, "-m", "benchmarks.adapters", "--ours", base_url))
        theirs = stack.enter_context(_side(_BENCH_PYTHON, "-m", "benchmarks.adapters.litellm_side"))
        sides = {way: ours if way in ("bytes", "ours") else theirs for way in _WAYS}
        for vendor in VENDORS:
            spent: dict[str, list[float]] = {way: [] for way in _WAYS}
            for number in range(rounds + 1):
                for way in _WAYS:
                    seconds = sides[way].measure(way, vendor, _at(base_url, vendor))
                    if number:  # The first round warms up.
                        spent[way].append(seconds * 1e6 / deltas_of(vendor))
            _print(vendor, spent)


def _print(vendor: str, spent: dict[str, list[float]]) -> None:
    middle = {way: statistics.median(values) for way, values in spent.items()}
    print(f"\n{vendor}: CPU per 1,000 deltas: ours {middle['ours']:.1f} ms, of which bytes {middle['bytes']:.1f} ms")
    for way in ("acompletion", "aresponses"):
        ratio = statistics.median(o / t for o, t in zip(spent["ours"], spent[way], strict=True))
        aim = "" if ratio <= _AIM else "  (above a third)"
        note = f"  [{_NOTES[vendor, way]}]" if (vendor, way) in _NOTES else ""
        print(f"  LiteLLM's {way:<12} {middle[way]:7.1f} ms   ours is {ratio:.2f} of it{aim}{note}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pause", type=int, default=0, help="milliseconds between two events")
    parser.add_argument("--profile", choices=VENDORS)
    parser.add_argument("--ours", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.ours:
        asyncio.run(_answer_parent(given.ours))
        return
    if not given.profile and not Path(_BENCH_PYTHON).exists():
        sys.exit("LiteLLM has no environment yet: `make bench-adapters` makes it")
    with _server(given.pause) as base_url:
        if given.profile:
            asyncio.run(_profile(given.profile, base_url))
        else:
            _compare(base_url, given.rounds)


if __name__ == "__main__":
    main()
