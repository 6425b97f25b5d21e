"""The tools that a provider runs itself: their progress reaches the client, and survives a worker and Redis."""

from __future__ import annotations

import asyncio
from itertools import groupby
from typing import Any

import httpx

from open_responses.io.redis.client import Redis
from tests.support.fake_vendors import Vendors
from tests.support.spec import validate_event
from tests.support.stack import Event, Stack, check_whole, collect, events_of
from tests.support.stream_judge import judge
from tests.support.vendor_scripts import Spoken

IMAGE = "iVBORw0KGgo="
CODE = ["import random\n", "print(random.random())"]


def ran(kind: str, progress: list[tuple[str, dict[str, Any]]], begun: dict[str, Any], **done: Any) -> list[Event]:
    """The events of one call, in the order and the shape of OpenAI's recorded streams."""
    item = {"id": f"{kind}_up", "type": kind, **begun}
    return [
        {"type": "response.output_item.added", "item": {**item, "status": "in_progress"}},
        *({"type": f"response.{name}", "item_id": item["id"], **members} for name, members in progress),
        {"type": "response.output_item.done", "item": {**item, "status": "completed", **done}},
    ]


SEARCH = ran(
    "web_search_call",
    [(f"web_search_call.{state}", {}) for state in ("in_progress", "searching", "completed")],
    {},
    action={"type": "search", "query": "Berlin", "sources": [{"type": "url", "url": "https://example.com"}]},
)
FILES = ran(
    "file_search_call",
    [(f"file_search_call.{state}", {}) for state in ("in_progress", "searching", "completed")],
    {"queries": [], "results": None},
    queries=["What is it?"],
    results=[{"file_id": "file_1", "filename": "a.pdf", "score": 0.9, "text": "It.", "attributes": {}}],
)
INTERPRETER = ran(
    "code_interpreter_call",
    [
        ("code_interpreter_call.in_progress", {}),
        *(("code_interpreter_call_code.delta", {"delta": piece, "obfuscation": "x"}) for piece in CODE),
        ("code_interpreter_call_code.done", {"code": "".join(CODE)}),
        ("code_interpreter_call.interpreting", {}),
        ("code_interpreter_call.completed", {}),
    ],
    {"code": "", "container_id": "cntr_1", "outputs": []},
    code="".join(CODE),
    outputs=None,
)
DRAWING = ran(
    "image_generation_call",
    [
        ("image_generation_call.in_progress", {}),
        ("image_generation_call.generating", {}),
        *(
            (
                "image_generation_call.partial_image",
                {"partial_image_index": index, "partial_image_b64": IMAGE * (index + 1), "size": "1024x1024"},
            )
            for index in range(2)
        ),
        ("image_generation_call.completed", {}),
    ],
    {},
    result=IMAGE * 3,
)
TOOLS = [
    {"type": "web_search"},
    {"type": "file_search", "vector_store_ids": ["vs_1"]},
    {"type": "code_interpreter", "container": {"type": "auto"}},
    {"type": "image_generation", "partial_images": 2},
]


def progress_of(events: list[Event]) -> list[str]:
    """The types of the events about built-in tools, in order. Neighbouring deltas may arrive as one."""
    names = ("web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call")
    told = [event["type"] for event in events if event["type"].startswith(tuple(f"response.{name}" for name in names))]
    return [kind for kind, run in groupby(told) for _ in (run if not kind.endswith(".delta") else [kind])]


def without_padding(events: list[Event]) -> list[Event]:
    return [{name: value for name, value in event.items() if name != "obfuscation"} for event in events]


async def test_progress_of_every_built_in_tool_reaches_the_client_and_outlives_redis(
    client: httpx.AsyncClient, vendors: Vendors, redis: Redis
) -> None:
    script = vendors.says("run them all", Spoken(words=4, built_in=[*SEARCH, *FILES, *INTERPRETER, *DRAWING]))
    events = await collect(client, {"model": "openai-fake", "input": "run them all", "tools": TOOLS})
    response = check_whole(events, script.text)
    assert progress_of(events) == progress_of(script.built_in)
    for event in events:
        validate_event(event)
    assert judge(events)["output"] == response["output"]
    images = [event for event in events if event["type"] == "response.image_generation_call.partial_image"]
    assert [image["partial_image_b64"] for image in images] == [IMAGE, IMAGE * 2]
    assert images[0]["size"] == "1024x1024"
    kinds = [item["type"] for item in response["output"]]
    assert kinds == [
        "web_search_call",
        "file_search_call",
        "code_interpreter_call",
        "image_generation_call",
        "message",
    ]
    assert response["output"][0]["action"]["query"] == "Berlin"
    assert response["output"][2]["code"] == "".join(CODE)
    resume = (response["id"], None)
    live = [event async for event in events_of(client, resume=resume)]
    assert without_padding(live) == without_padding(events)
    await redis.flushall()
    rebuilt = [event async for event in events_of(client, resume=resume)]
    assert without_padding(rebuilt) == without_padding(events)


async def test_a_built_in_call_that_a_dead_worker_left_is_shown_as_incomplete_and_not_sent_back(
    client: httpx.AsyncClient, stack: Stack, vendors: Vendors
) -> None:
    script = vendors.says("run code", Spoken(words=4, built_in=[*SEARCH, *INTERPRETER], hold_after=len(SEARCH) + 3))
    events: list[Event] = []
    async for event in events_of(client, {"model": "openai-fake", "input": "run code", "tools": TOOLS}):
        events.append(event)
        if event["type"] == "response.code_interpreter_call_code.delta" and not script.released.is_set():
            await asyncio.wait_for(script.held.wait(), 50)
            await stack.kill(await stack.busy_worker())
            script.released.set()
    response = check_whole(events, script.text)
    assert judge(events)["output"] == response["output"]
    assert [(item["type"], item["status"]) for item in response["output"]] == [
        ("web_search_call", "completed"),
        ("code_interpreter_call", "incomplete"),
        ("web_search_call", "completed"),
        ("code_interpreter_call", "completed"),
        ("message", "completed"),
    ]
    assert response["output"][1]["code"] == CODE[0]
    again = [event async for event in events_of(client, resume=(response["id"], None))]
    assert without_padding(again) == without_padding(events)
    _, second = vendors.asked("openai", "run code")
    assert [item["status"] for item in second["input"] if item["type"] == "code_interpreter_call"] == []
    follow_up = vendors.says("and then", Spoken(words=2))
    asked = {"model": "openai-fake", "input": "and then", "previous_response_id": response["id"], "tools": TOOLS}
    check_whole(await collect(client, asked), follow_up.text)
    (third,) = vendors.asked("openai", "and then")
    assert [item["status"] for item in third["input"] if item["type"] == "code_interpreter_call"] == ["completed"]
