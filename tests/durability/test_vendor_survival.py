"""What a client gets of each vendor when things die in mid-answer: adapters, workers, Redis and all, over real sockets.

One kill serves many streams: `killed` holds every vendor's answer at the moment that is of interest, kills both workers
with `kill -9`, and lets all go on.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import pytest_asyncio
import redis.asyncio as aioredis

from tests.support.fake_upstream import Fault, Script, Upstream
from tests.support.fake_vendors import Vendors
from tests.support.stack import Event, Stack, another_api, check_whole, collect, events_of, text_of, until
from tests.support.vendor_configuration import VENDORS
from tests.support.vendor_scripts import Spoken, VendorFault, call

pytestmark = pytest.mark.campaign

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
    first = vendors.says(
        prompt, Spoken(words=0, thoughts=4, tool_calls=[call(city="Paris"), call(city="Rome")]), answer
    )
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

PLACES = (
    "first word",
    "text",
    "text after a thought",
    "thought",
    "arguments",
    "second call",
    "call after text",
    "between turns",
)
CITY = "Paris, the capital of France"
_MANY = httpx.Limits(max_connections=200)


def script_for(place: str) -> list[Spoken]:
    """An answer that is held at that place, and the turns behind it."""
    answer = Spoken(words=8)
    match place:
        case "first word":
            return [Spoken(words=8, hold_after=0)]
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
        size = sum(
            len(turn.thought) + len("".join(turn.tool_calls[0]["arguments"])) for turn in before if turn.tool_calls
        )
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

    def start(self, client: httpx.AsyncClient) -> asyncio.Task[None]:
        self.task = asyncio.create_task(self.stream(client))
        return self.task

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
        tasks = [run.start(client) for run in runs.values()]
        try:
            for run in runs.values():
                await until(run.is_there, 30)
            for name in ("worker-0", "worker-1"):
                await session_stack.kill_seen(name)
            for run in runs.values():
                run.held.released.set()
            await session_stack.heal()
            await asyncio.wait(tasks, timeout=40)
        finally:
            for task in tasks:
                task.cancel()
    return runs


# What each adapter does with half an answer, but for those that begin it anew.
CONTINUED = {("anthropic-prefill", "text"), ("ollama", "text"), ("ollama", "call after text")}
UNNOTICED = ("first word", "between turns")


def places(*, chained: bool = False) -> list[tuple[str, str]]:
    """(model, place) of what is begun anew."""
    return [
        (model, place)
        for model in MODELS
        for place in PLACES
        if chained or not ((model, place) in CONTINUED or place in UNNOTICED or model == "openai-background")
    ]


Runs = dict[tuple[str, str], Killed]


def check_answer(run: Killed) -> dict[str, Any]:
    """The deltas agree with the response, each call has one output, and the last message is the whole answer."""
    response = check_deltas(run.events)
    output = response["output"]
    calls = [item["call_id"] for item in output if item["type"] == "function_call" and item["status"] == "completed"]
    assert calls == [item["call_id"] for item in output if item["type"] == "function_call_output"]
    assert len(calls) == len(run.turns[0].tool_calls or [])
    assert written([item for item in output if item["type"] == "message"][-1])["output_text"] == run.turns[-1].text
    return response


@pytest.mark.parametrize(("model", "place"), sorted(CONTINUED))
async def test_an_answer_goes_on_in_its_item_where_the_vendor_continues_it(
    killed: Runs, vendors: Vendors, model: str, place: str
) -> None:
    run = killed[model, place]
    response = check_answer(run)
    assert attempts(run.events) == [("continued", "worker lost")]
    assert [item["status"] for item in response["output"]] == ["completed"] * len(response["output"])
    assert written(response["output"][0])["output_text"] == run.turns[0].text
    _, again = vendors.asked(vendor_of(model), run.prompt)[:2]
    assert again["messages"][-1]["role"] == "assistant"


@pytest.mark.parametrize("place", PLACES)
async def test_a_background_answer_is_read_again_and_never_generated_twice(killed: Runs, place: str) -> None:
    run = killed["openai-background", place]
    response = check_answer(run)
    assert actions(run.events) == ([] if place in UNNOTICED else ["resumed"])
    assert [item["status"] for item in response["output"]] == ["completed"] * len(response["output"])
    assert [turn.attempts for turn in run.turns] == [1] * len(run.turns)
    assert run.held.rereadings == 1 or run.turns[0].rereadings == 1
    assert [turn.cancellations for turn in run.turns] == [0] * len(run.turns)


@pytest.mark.parametrize(("model", "place"), places())
async def test_an_answer_that_cannot_go_on_is_begun_anew_behind_its_marked_half(
    killed: Runs, vendors: Vendors, model: str, place: str
) -> None:
    run = killed[model, place]
    response = check_answer(run)
    assert attempts(run.events) == [("restarted", "worker lost")]
    halves = [item for item in response["output"] if item["status"] == "incomplete"]
    assert halves
    assert run.held.attempts == 2
    for half in halves:
        (text,) = written(half).values()
        assert (run.held.thought + run.held.text + arguments_of(run.held)).find(text) >= 0


def arguments_of(script: Script) -> str:
    return "".join("".join(wanted["arguments"]) for wanted in script.tool_calls or [])


@pytest.mark.parametrize("place", UNNOTICED)
@pytest.mark.parametrize("model", MODELS)
async def test_before_the_first_word_of_a_turn_a_kill_is_not_noticed(
    killed: Runs, vendors: Vendors, model: str, place: str
) -> None:
    run = killed[model, place]
    response = check_answer(run)
    assert actions(run.events) == []
    assert [item["status"] for item in response["output"]] == ["completed"] * len(response["output"])
    for body in vendors.asked(vendor_of(model), run.prompt)[1:]:
        if place == "between turns":
            sent_back(vendors, model, body, run.turns[0])


@pytest.mark.parametrize(("model", "place"), places(chained=True))
async def test_the_next_response_of_the_chain_is_taken_by_the_vendor(
    killed: Runs, client: httpx.AsyncClient, vendors: Vendors, model: str, place: str
) -> None:
    run = killed[model, place]
    prompt = f"{run.prompt}. And then?"
    script = vendors.says(prompt, Spoken(words=2))
    body = {"model": f"{model}-fake", "input": prompt, "previous_response_id": run.events[-1]["response"]["id"]}
    check_whole(await collect(client, {**body, **settings_for(place)}), script.text)
    (asked,) = vendors.asked(vendor_of(model), prompt)
    assert json.dumps(asked).count(run.turns[-1].text.rstrip()) == 1


# --- a vendor that fails

FAULTS = {
    "drops the connection": VendorFault(after=7, drop=True),
    "ends without an end": VendorFault(after=7, ends=True),
    "sends garbage": VendorFault(after=7, garbage=True),
    "stalls": VendorFault(after=7, stall=True),
    "breaks off with an error": VendorFault(after=7, error=529),
    # Two seconds: after one, Temporal would try again anyway.
    "is busy, by header": VendorFault(status=429, headers={"Retry-After": "2"}),
    "is busy, in its own words": VendorFault(status=429, wait=2.0),
    "has a fault": VendorFault(status=500),
    "is overloaded": VendorFault(status=529),
}
# What the client sees of a break in the middle.
BREAKS = {
    "anthropic": ["restarted"],
    "anthropic-prefill": ["continued"],
    "gemini": ["restarted"],
    "openai": ["restarted"],
    "openai-background": ["resumed"],
    "ollama": ["continued"],
}


@pytest.mark.parametrize("what", FAULTS)
async def test_a_vendor_that_fails_once_gives_the_whole_answer_in_the_end(
    client: httpx.AsyncClient, vendors: Vendors, what: str
) -> None:
    fault = FAULTS[what]

    async def ask(model: str) -> None:
        script = vendors.says(f"{model} {what}", Spoken(words=20, faults=[fault]))
        began = time.monotonic()
        provider = f"{model}-hasty" if fault.stall else f"{model}-fake"
        events = await collect(client, {"model": provider, "input": f"{model} {what}"})
        response = check_deltas(events)
        messages = [item for item in response["output"] if item["type"] == "message"]
        assert written(messages[-1])["output_text"] == script.text, model
        is_new = fault.error and model == "openai-background"
        assert actions(events) == ([] if fault.status else ["restarted"] if is_new else BREAKS[model]), model
        is_reread = not (fault.status or fault.error) and model == "openai-background"
        assert (script.attempts, script.rereadings) == ((1, 1) if is_reread else (2, 0)), model
        assert fault.status != 429 or time.monotonic() - began > 2, model

    await asyncio.gather(*(ask(model) for model in MODELS))


@pytest.mark.parametrize("model", ["openai", "openai-background"])
async def test_a_vendor_that_is_busy_before_its_first_word_is_given_the_time_that_it_asks_for(
    client: httpx.AsyncClient, vendors: Vendors, model: str
) -> None:
    script = vendors.says(f"{model} is busy", Spoken(words=5, faults=[VendorFault(error=429, wait=2.0)]))
    began = time.monotonic()
    events = await collect(client, {"model": f"{model}-fake", "input": f"{model} is busy"})
    check_whole(events, script.text)
    assert actions(events) == []
    assert time.monotonic() - began > 2
    assert (script.attempts, script.rereadings) == (2, 0)


async def test_a_background_answer_that_breaks_twice_is_still_one_answer(
    client: httpx.AsyncClient, vendors: Vendors
) -> None:
    faults = [VendorFault(after=7, drop=True)]
    again: list[Fault | None] = [VendorFault(after=12, drop=True)]
    script = vendors.says("breaks twice", Spoken(words=20, faults=[*faults], reread_faults=again))
    events = await collect(client, {"model": "openai-background-fake", "input": "breaks twice"})
    response = check_whole(events, script.text)
    assert kinds(response) == [("message", "completed")]
    assert actions(events) == ["resumed", "resumed"]
    assert (script.attempts, script.rereadings) == (1, 2)


async def test_a_background_answer_that_is_gone_is_begun_anew(client: httpx.AsyncClient, vendors: Vendors) -> None:
    again: list[Fault | None] = [Fault(status=404)]
    faults: list[Fault | None] = [VendorFault(after=7, drop=True)]
    script = vendors.says("is gone", Spoken(words=20, faults=faults, reread_faults=again))
    events = await collect(client, {"model": "openai-background-fake", "input": "is gone"})
    response = check_deltas(events)
    assert kinds(response) == [("message", "incomplete"), ("message", "completed")]
    assert actions(events) == ["resumed", "restarted"]
    assert (script.attempts, script.rereadings) == (2, 1)


# --- from vendor to vendor


async def test_a_chain_moves_from_vendor_to_vendor_with_its_words_and_calls_and_nobody_elses_seals(
    client: httpx.AsyncClient, vendors: Vendors, upstream: Upstream
) -> None:
    asking = {"tools": WEATHER, "reasoning": REASONING}
    previous: str | None = None
    scripts: list[Spoken] = []
    seals: list[str] = []
    for model in ("anthropic", "gemini", "openai", "ollama"):
        prompt = f"the chain comes to {model}"
        first = Spoken(thoughts=3, words=0, tool_calls=[call(city=f"City of {model}")])
        answer = Spoken(literal=f"The answer of {model}.")
        vendors.says(prompt, first, answer)
        body = {"model": f"{model}-fake", "input": prompt, "previous_response_id": previous}
        response = check_deltas(await collect(client, {**asking, **body}))
        previous = response["id"]
        for asked in vendors.asked(model, prompt):
            check_carried(asked, scripts)
            assert not [seal for seal in seals if seal in json.dumps(asked)]
        scripts += [first, answer]
        seals.append(vendors.seal_of(model, first))
    upstream.says("the chain ends", Script(words=3))
    events = await collect(client, {"input": "the chain ends", "previous_response_id": previous, **asking})
    check_carried(upstream.requests[-1], scripts)
    assert not [seal for seal in seals if seal in json.dumps(upstream.requests[-1])]
    # Whoever made a seal gets it back when the chain returns.
    vendors.says("back again", Spoken(words=3))
    body = {"model": "anthropic-fake", "input": "back again", "previous_response_id": events[-1]["response"]["id"]}
    await collect(client, {**asking, **body})
    (asked,) = vendors.asked("anthropic", "back again")
    assert [seal for seal in seals if seal in json.dumps(asked)] == seals[:1]


def check_carried(body: dict[str, Any], scripts: list[Spoken]) -> None:
    """The request has the text, the call and the call's output of each."""
    sent = json.dumps(body)
    for script in scripts:
        if script.tool_calls:
            city = json.loads(arguments_of(script))["city"]
            assert sent.count(city) == 2, f"the call and its output: {sent}"
        else:
            assert sent.count(script.text) == 1


# --- cancelled


@pytest.mark.parametrize("model", MODELS)
async def test_cancelling_closes_the_vendors_connection(
    client: httpx.AsyncClient, vendors: Vendors, model: str
) -> None:
    prompt = f"{model} is cancelled"
    script = vendors.says(prompt, Spoken(words=20, hold_after=6))
    body = {"model": f"{model}-fake", "input": prompt, "background": True}
    response = (await client.post("/v1/responses", json=body)).json()
    await asyncio.wait_for(script.held.wait(), 50)
    assert not script.gone.is_set()
    cancelled = (await client.post(f"/v1/responses/{response['id']}/cancel")).json()
    assert cancelled["status"] == "cancelled"
    await asyncio.wait_for(script.gone.wait(), 50)
    script.released.set()


# --- a background answer that nobody will read any more

BACKGROUND = "openai-background-fake"


async def hold(client: httpx.AsyncClient, vendors: Vendors, prompt: str) -> tuple[str, Spoken]:
    """The id of a response whose background answer is held in its middle."""
    script = vendors.says(prompt, Spoken(words=20, hold_after=6))
    body = {"model": BACKGROUND, "input": prompt, "background": True}
    response = (await client.post("/v1/responses", json=body)).json()
    await asyncio.wait_for(script.held.wait(), 50)
    return response["id"], script


async def is_cancelled(script: Spoken) -> bool:
    return script.cancellations > 0


@pytest.mark.parametrize("how", ["cancelled", "deleted"])
async def test_a_background_answer_of_a_response_that_is_stopped_is_cancelled_upstream(
    client: httpx.AsyncClient, vendors: Vendors, how: str
) -> None:
    response_id, script = await hold(client, vendors, f"background, {how}")
    if how == "cancelled":
        await client.post(f"/v1/responses/{response_id}/cancel")
    else:
        assert (await client.delete(f"/v1/responses/{response_id}")).json()["deleted"]
    await until(lambda: is_cancelled(script))
    script.released.set()
    assert (script.attempts, script.rereadings, script.cancellations) == (1, 0, 1)


async def test_a_background_answer_is_cancelled_upstream_at_the_deadline(stack: Stack, vendors: Vendors) -> None:
    """The end fences the log, so that a try which is streaming may hear of that first."""
    async with another_api(stack, head="deadline_seconds = 3") as client:
        _, held = await hold(client, vendors, "background, silent at the deadline")
        streaming = vendors.says("background, streaming at the deadline", Spoken(words=5000, gap=0.001))
        events = await collect(client, {"model": BACKGROUND, "input": "background, streaming at the deadline"})
        assert events[-1]["response"]["incomplete_details"] == {"reason": "deadline_exceeded"}
        for script in (held, streaming):
            await until(lambda script=script: is_cancelled(script))
        held.released.set()
    assert [script.cancellations for script in (held, streaming)] == [1, 1]


async def test_a_background_answer_that_a_middleware_stops_is_cancelled_upstream(
    client: httpx.AsyncClient, vendors: Vendors
) -> None:
    script = vendors.says("background, guarded", Spoken(literal="It is unspeakable and long", hold_after=4))
    response = check_deltas(await collect(client, {"model": BACKGROUND, "input": "background, guarded"}))
    assert written(response["output"][-1])["output_text"] == "Not here."
    script.released.set()
    assert (script.attempts, script.cancellations) == (1, 1)


async def test_a_background_answer_whose_cancellation_fails_is_cancelled_here_all_the_same(
    client: httpx.AsyncClient, vendors: Vendors
) -> None:
    response_id, script = await hold(client, vendors, "background, cannot be cancelled")
    script.cancel_status = 500
    cancelled = (await client.post(f"/v1/responses/{response_id}/cancel")).json()
    assert cancelled["status"] == "cancelled"
    await until(lambda: is_cancelled(script))
    script.released.set()


async def test_a_worker_that_leaves_or_lost_its_answer_to_another_leaves_it_running_upstream(
    client: httpx.AsyncClient, stack: Stack, vendors: Vendors
) -> None:
    """One is told to shut down; one is frozen until another reads the answer, and wakes up fenced."""
    for how in ("leaves", "is frozen"):
        script = vendors.says(f"a worker {how}", Spoken(words=100, gap=0.03, hold_after=6))
        asking = asyncio.create_task(collect(client, {"model": BACKGROUND, "input": f"a worker {how}"}))
        await asyncio.wait_for(script.held.wait(), 50)
        worker = await stack.busy_worker()
        stack.signal(worker, signal.SIGTERM if how == "leaves" else signal.SIGSTOP)
        await until(lambda script=script: is_read_again(script))
        if how == "is frozen":
            stack.signal(worker, signal.SIGCONT)
        script.released.set()
        response = check_whole(await asking, script.text)
        assert kinds(response) == [("message", "completed")]
        assert (script.attempts, script.rereadings, script.cancellations) == (1, 1, 0)
        await stack.heal()
    # The one that woke up is alive, and has heard of its fence by now.
    assert script.cancellations == 0


async def is_read_again(script: Spoken) -> bool:
    return script.rereadings > 0


# --- Redis flushed


async def test_flushing_redis_loses_no_word_and_no_seal(
    client: httpx.AsyncClient, stack: Stack, vendors: Vendors
) -> None:
    redis = aioredis.Redis.from_url(stack.redis_url)
    asking = {"tools": WEATHER, "reasoning": REASONING}
    scripts = {}
    for model in MODELS:
        first = Spoken(thoughts=3, words=0, tool_calls=[call(city="Paris")])
        scripts[model] = (first, Spoken(words=20, hold_after=7))
        vendors.says(f"{model} flushed", *scripts[model])
    streams = [
        asyncio.create_task(collect(client, {"model": f"{model}-fake", "input": f"{model} flushed", **asking}))
        for model in MODELS
    ]
    await asyncio.wait_for(asyncio.gather(*(answer.held.wait() for _, answer in scripts.values())), 50)
    await redis.flushall()
    for _, answer in scripts.values():
        answer.released.set()
    told = dict(zip(MODELS, await asyncio.gather(*streams), strict=True))
    for model, events in told.items():
        assert check_deltas(events)["status"] == "completed"
        assert text_of(events) == scripts[model][1].text
        assert scripts[model][1].attempts == 1, model
    await redis.flushall()
    await redis.aclose()
    for model, events in told.items():
        response_id = events[-1]["response"]["id"]
        assert [e async for e in events_of(client, resume=(response_id, None))] == events, model
        prompt = f"{model} after the flush"
        vendors.says(prompt, Spoken(words=2))
        body = {"model": f"{model}-fake", "input": prompt, "previous_response_id": response_id}
        check_deltas(await collect(client, {**asking, **body}))
        sent_back(vendors, model, vendors.asked(vendor_of(model), prompt)[0], scripts[model][0])


# --- the real model


async def test_the_real_model_is_asked_in_the_vendors_formats_and_survives_a_kill(
    client: httpx.AsyncClient, stack: Stack
) -> None:
    """llama.cpp speaks Anthropic's Messages, and continues an answer there, and OpenAI's Responses."""
    await stack.start_local_model()
    adapters = ("smollm2-anthropic", "smollm2-openai")
    # Long enough to be still under way when both workers are dead.
    ask = {"input": "Tell me about rivers.", "temperature": 0, "max_output_tokens": 120}
    calm = [text_of(await collect(client, {"model": model, **ask})) for model in adapters]
    assert calm[0] == calm[1] != ""
    streams: dict[str, list[Event]] = {model: [] for model in adapters}

    async def stream(model: str) -> None:
        async for event in events_of(client, {"model": model, **ask}):
            streams[model].append(event)

    async def have_begun() -> bool:
        return all(len(text_of(events).split()) >= 5 for events in streams.values())

    running = [asyncio.create_task(stream(model)) for model in adapters]
    await until(have_begun, 30)
    for name in ("worker-0", "worker-1"):
        await stack.kill_seen(name)
    await stack.heal()
    await asyncio.gather(*running)
    continued, restarted = streams.values()
    check_whole(continued, calm[0], continued[-1]["response"]["status"])
    assert set(actions(continued)) == {"continued"}
    assert set(actions(restarted)) == {"restarted"}
    *halves, whole = restarted[-1]["response"]["output"]
    assert halves
    assert all(calm[1].startswith(written(half)["output_text"]) for half in halves)
    assert written(whole)["output_text"] == calm[1]
