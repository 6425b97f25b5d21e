"""`make bench-adapters`: CPU per 1,000 deltas of each adapter, against LiteLLM's translation of the same stream.

What is measured, each in a process of its own, by turns, on the same bytes from one server on loopback:
- bytes: aiohttp reads the answer and does nothing with it; the floor.
- ours: request and answer of the adapter over `open_http_client`, the middlewares' composition (of none), Joiner,
  Assembler with its fold, and each event encoded as the log has it. Not the log itself.
- LiteLLM's two ways: see `adapter_litellm`. They end with objects, which nothing encodes: this is in its favour.

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
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import aiohttp

from activities.providers.http import open_http_client
from activities.providers.registry import build_providers
from benchmarks.adapter_streams import CALL, TEXT, VENDORS, deltas_of, pieces
from dev import services
from open_responses.assembler import Assembler
from open_responses.config import Config, ProviderConfig
from open_responses.contracts import Provider, SampleCall, SampleContext
from open_responses.deltas import Finish
from open_responses.io.event_log import encode
from open_responses.middleware.compose import compose_sample
from open_responses.requests import CreateResponse
from open_responses.surrogates import Joiner

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

    def __init__(self, base_url: str) -> None:
        self._http = open_http_client()
        self._base_url = base_url
        providers = tuple(
            ProviderConfig(name=vendor, adapter=vendor, base_url=f"{base_url}{_PATHS.get(vendor, '')}")
            for vendor in VENDORS
        )
        self._providers: dict[str, Provider] = {}
        for provider in providers:
            url = provider.base_url.replace("VENDOR", provider.name)
            config = Config(providers=(provider.model_copy(update={"base_url": url}),))
            self._providers |= build_providers(config, self._http, {})
        self._bare = aiohttp.ClientSession()

    async def bytes(self, vendor: str) -> str:
        async with self._bare.post(self._base_url.replace("VENDOR", vendor)) as response:
            async for _ in response.content.iter_any():
                pass
        return "".join(pieces(TEXT))

    async def ours(self, vendor: str) -> str:
        """One turn as the worker takes it (`activities/turn.py`), up to the log. Returns the text."""
        sample = compose_sample((), lambda passed: self._providers[vendor].sample(passed.call))
        context = SampleContext(_call(_MODELS[vendor]), "resp_1", "default")
        assembler, joiner, written = Assembler(response_id="resp_1"), Joiner(), 0
        async for delta in sample(context):
            events = assembler.close("completed") if isinstance(delta, Finish) else assembler.feed(joiner.clean(delta))
            for event in events:
                encode(event, written)
                written += 1
        return "".join(
            part["text"] for item in assembler.fold.output if item["type"] == "message" for part in item["content"]
        )


def _call(model: str) -> SampleCall:
    request = CreateResponse.model_validate({"model": model, "input": "How is the river?", "tools": [_TOOL]})
    tools = [tool for tool in request.tools or [] if tool.type == "function"]
    return SampleCall(model=model, items=request.input_items(), request=request, tools=tools)


async def _serve_ours(base_url: str) -> None:
    ours = _Ours(base_url)
    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        gc.collect()
        began = time.process_time()
        said = await getattr(ours, asked["way"])(asked["vendor"])
        seconds = time.process_time() - began
        if said != "".join(pieces(TEXT)):
            raise ValueError(f"ours of {asked['vendor']} lost some of the text")
        print(json.dumps({"seconds": seconds}), flush=True)


async def _profile(vendor: str, base_url: str) -> None:
    ours = _Ours(base_url)
    await ours.ours(vendor)
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(5):
        await ours.ours(vendor)
    profile.disable()
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
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.adapter_streams", str(port)])
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
        theirs = stack.enter_context(_side(_BENCH_PYTHON, "-m", "benchmarks.adapter_litellm"))
        sides = {way: ours if way in ("bytes", "ours") else theirs for way in _WAYS}
        for vendor in VENDORS:
            spent: dict[str, list[float]] = {way: [] for way in _WAYS}
            for number in range(rounds + 1):
                for way in _WAYS:
                    seconds = sides[way].measure(way, vendor, base_url.replace("VENDOR", vendor))
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
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--pause", type=int, default=0, help="milliseconds between two events")
    parser.add_argument("--profile", choices=VENDORS)
    parser.add_argument("--ours", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.ours:
        asyncio.run(_serve_ours(given.ours))
        return
    with _server(given.pause) as base_url:
        if given.profile:
            asyncio.run(_profile(given.profile, base_url))
        else:
            _compare(base_url, given.rounds)


if __name__ == "__main__":
    main()
