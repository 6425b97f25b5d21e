"""What a client gets of each vendor when things die in mid-answer: adapters, workers, Redis and all, over real sockets.

One kill serves many streams: `killed` holds every vendor's answer at the moment that is of interest, kills both workers
with `kill -9`, and lets all go on.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import pytest_asyncio
import redis.asyncio as aioredis

from tests.stack import Event, Stack, check_whole, collect, events_of, text_of, until
from tests.upstream import Fault, Script, Upstream
from tests.vendors import VENDORS, Spoken, VendorFault, Vendors, call

MODELS = ("anthropic", "anthropic-prefill", "gemini", "openai", "openai-background", "ollama")
REASONING = {"effort": "medium", "summary": "auto"}
WEATHER = [{"type": "function", "name": "get_weather"}]


def vendor_of(model: str) -> str:
    return next(vendor for vendor in VENDORS if model.startswith(vendor))


@pytest.fixture(autouse=True)
def no_vendor_refused(vendors: Vendors) -> Iterator[None]:
    """The fakes refuse what the vendors would: a client that is not told of it may have lost its conversation."""
    vendors.refusals.clear()
    yield
    assert not vendors.refusals


def attempts(events: list[Event]) -> list[tuple[str, str]]:
    return [(e["action"], e["reason"]) for e in events if e["type"] == "open_responses:attempt"]


def actions(events: list[Event]) -> list[str]:
    return [action for action, _ in attempts(events)]


def kinds(response: dict[str, Any]) -> list[tuple[str, str]]:
    return [(item["type"], item["status"]) for item in response["output"]]


def check_deltas(events: list[Event]) -> dict[str, Any]:
    """Each item of the final response is what its deltas add up to. Returns the response."""
    response = check_whole(events, text_of(events))
    told: dict[int, dict[str, str]] = {}
    for event in events:
        if event["type"].endswith(".delta"):
            kind = event["type"].removeprefix("response.").removesuffix(".delta")
            parts = told.setdefault(event["output_index"], {})
            parts[kind] = parts.get(kind, "") + event["delta"]
    for index, item in enumerate(response["output"]):
        assert told.get(index, {}) == written(item), item
    return response


def written(item: dict[str, Any]) -> dict[str, str]:
    """An item's texts by the kind of their deltas."""
    texts = {
        "output_text": "".join(part["text"] for part in item.get("content") or [] if part["type"] == "output_text"),
        "reasoning": "".join(part["text"] for part in item.get("content") or [] if part["type"] == "reasoning_text"),
        "reasoning_summary_text": "".join(part["text"] for part in item.get("summary") or []),
        "function_call_arguments": item.get("arguments", ""),
    }
    return {kind: text for kind, text in texts.items() if text}


def thoughts_of(response: dict[str, Any]) -> list[str]:
    return [
        "".join(written(item).get(kind, "") for kind in ("reasoning", "reasoning_summary_text"))
        for item in response["output"]
        if item["type"] == "reasoning"
    ]


def sent_back(vendors: Vendors, model: str, body: dict[str, Any], script: Spoken) -> None:
    """The vendor's request has what it sealed, where it has seals; Ollama gets the thought itself."""
    vendor = vendor_of(model)
    wanted = script.thought if vendor == "ollama" else vendors.seal_of(vendor, script)
    assert json.dumps(body).count(wanted) == 1, wanted


async def test_a_plain_answer_is_whole(client: httpx.AsyncClient, vendors: Vendors) -> None:
    script = vendors.says("plain", Spoken(words=30))
    asked = [collect(client, {"model": f"{model}-fake", "input": "plain"}) for model in MODELS]
    for model, events in zip(MODELS, await asyncio.gather(*asked), strict=True):
        response = check_whole(events, script.text)
        assert response["usage"]["input_tokens"] == 10, model
        assert kinds(response)[0] == ("message", "completed"), model


@pytest.mark.parametrize("model", MODELS)
async def test_what_a_vendor_thought_comes_back_on_the_next_turn_and_along_the_chain(
    client: httpx.AsyncClient, vendors: Vendors, model: str
) -> None:
    answer = Spoken(words=8)
    prompt = f"loop of {model}"
    first = vendors.says(prompt, Spoken(words=0, thoughts=4, tool_calls=[call(city="Paris"), call(city="Rome")]), answer)
    asking = {"model": f"{model}-fake", "tools": WEATHER, "reasoning": REASONING}
    response = check_deltas(await collect(client, {**asking, "input": prompt}))
    assert thoughts_of(response)[0] == first.thought
    outputs = [item["output"] for item in response["output"] if item["type"] == "function_call_output"]
    assert [json.loads(output)["city"] for output in outputs] == ["Paris", "Rome"]
    _, second = vendors.asked(vendor_of(model), prompt)
    sent_back(vendors, model, second, first)
    follow_up = f"and then, {model}?"
    vendors.says(follow_up, Spoken(words=3))
    await collect(client, {**asking, "input": follow_up, "previous_response_id": response["id"]})
    (third,) = vendors.asked(vendor_of(model), follow_up)
    sent_back(vendors, model, third, first)


# --- a killed worker

PLACES = ("text", "text after a thought", "thought", "arguments", "second call", "call after text", "between turns")
CITY = "Paris, the capital of France"
_MANY = httpx.Limits(max_connections=200)


def script_for(place: str) -> list[Spoken]:
    """An answer that is held at that place, and the turns behind it."""
    answer = Spoken(words=8)
    match place:
        case "text":
            return [Spoken(words=20, hold_after=8)]
        case "text after a thought":
            return [Spoken(thoughts=4, words=20, hold_after=10)]
        case "thought":
            return [Spoken(thoughts=12, words=10, hold_after=6)]
        case "arguments":
            return [Spoken(thoughts=2, words=0, tool_calls=[call(city=CITY)], hold_after=5), answer]
        case "second call":
            wanted = [call(city="Rome"), call(city=CITY)]
            return [Spoken(words=0, tool_calls=wanted, hold_after=len(wanted[0]["arguments"]) + 3), answer]
        case "call after text":
            return [Spoken(words=6, tool_calls=[call(city=CITY)], hold_after=9), answer]
        case "between turns":
            return [Spoken(thoughts=3, words=0, tool_calls=[call(city=CITY)]), Spoken(words=8, hold_after=0)]
    raise AssertionError(place)


def settings_for(place: str) -> dict[str, Any]:
    thinks = place in ("text after a thought", "thought", "arguments", "between turns")
    return {"tools": WEATHER, **({"reasoning": REASONING} if thinks else {})}


@dataclass
class Killed:
    """One stream through the kill."""

    model: str
    place: str
    turns: list[Spoken]
    events: list[Event] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    @property
    def prompt(self) -> str:
        return f"{self.model} is killed in: {self.place}"

    @property
    def held(self) -> Spoken:
        return next(turn for turn in self.turns if turn.hold_after is not None)

    def expected(self) -> int:
        """Characters that the client has when the answer is held: some vendors' calls come whole."""
        before = [turn for turn in self.turns if turn is not self.held and self.place == "between turns"]
        size = sum(len(turn.thought) + len("".join(turn.tool_calls[0]["arguments"])) for turn in before if turn.tool_calls)
        left = self.held.hold_after or 0
        pieces = self.held.thought.split() + self.held.text.split()
        size += sum(len(piece) + 1 for piece in pieces[:left])
        arguments = [wanted["arguments"] for wanted in self.held.tool_calls or []]
        left -= len(pieces)
        for wanted in arguments:
            if left >= len(wanted) or vendor_of(self.model) in ("anthropic", "openai"):
                size += sum(map(len, wanted[: max(0, left)]))
            left -= len(wanted)
        return size

    async def stream(self, client: httpx.AsyncClient) -> None:
        body = {"model": f"{self.model}-fake", "input": self.prompt, **settings_for(self.place)}
        async for event in events_of(client, body):
            self.events.append(event)

    async def is_there(self) -> bool:
        """Whether the client has all that comes before the moment."""
        assert self.task is not None
        if self.task.done():
            raise AssertionError(f"{self.prompt}: the stream ended") from self.task.exception()
        told = sum(len(e["delta"]) for e in self.events if e["type"].endswith(".delta"))
        return self.held.held.is_set() and told == self.expected()


@pytest_asyncio.fixture(scope="module")
async def killed(session_stack: Stack, vendors: Vendors) -> dict[tuple[str, str], Killed]:
    """Every vendor's answer, held at every place, through one kill of both workers."""
    await session_stack.heal()
    runs = {(model, place): Killed(model, place, script_for(place)) for model in MODELS for place in PLACES}
    for run in runs.values():
        vendors.says(run.prompt, *run.turns)
    async with httpx.AsyncClient(base_url=session_stack.api_url, timeout=60, trust_env=False, limits=_MANY) as client:
        for run in runs.values():
            run.task = asyncio.create_task(run.stream(client))
        for run in runs.values():
            await until(run.is_there, 30)
        for name in ("worker-0", "worker-1"):
            await session_stack.kill_seen(name)
        for run in runs.values():
            run.held.released.set()
        await session_stack.heal()
        await asyncio.wait([run.task for run in runs.values() if run.task], timeout=30)
    return runs


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("model", MODELS)
async def test_probe(killed: dict[tuple[str, str], Killed], vendors: Vendors, client: httpx.AsyncClient, model: str, place: str) -> None:
    run = killed[model, place]
    print(model, place, actions(run.events), kinds(run.events[-1]["response"]), run.events[-1]["response"]["error"], [t.attempts for t in run.turns], run.turns[0].rereadings)
    print(vendors.refusals)
    response = check_deltas(run.events)
    vendors.says(f"{run.prompt}, next", Spoken(words=2))
    f = await client.post("/v1/responses", json={"model": f"{model}-fake", "input": f"{run.prompt}, next", "previous_response_id": response["id"], **settings_for(place)})
    print(f.json()["error"])
    print(json.dumps(vendors.asked(vendor_of(model), f"{run.prompt}, next"))[:3000])
    assert f.json()["status"] == "completed"
