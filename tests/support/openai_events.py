"""The events of OpenAI's Responses API as a provider, and calls that are sampled from them.

The streams have the form of those recorded in vercel/ai, `packages/openai/src/responses/__fixtures__`, and of the types
of openai's SDK; words and ids are ours.
"""

from __future__ import annotations

from typing import Any

import httpx

from activities.providers.openai import OpenAIResponses
from open_responses.deltas import Delta, Usage
from open_responses.errors import OpenResponsesError
from tests.support.provider_wire import Answer, Wire, call, sampled, sse

USAGE = {
    "input_tokens": 120,
    "input_tokens_details": {"cache_write_tokens": 8, "cached_tokens": 64},
    "output_tokens": 30,
    "output_tokens_details": {"reasoning_tokens": 12},
    "total_tokens": 150,
}
COUNTED = Usage(input_tokens=120, output_tokens=30, cached_tokens=64, cache_write_tokens=8, reasoning_tokens=12)


def response(status: str = "in_progress", **members: Any) -> dict[str, Any]:
    given = {"id": "resp_up", "object": "response", "status": status, "model": "gpt-5-2025-08-07", "output": []}
    return {**given, "error": None, "incomplete_details": None, "usage": None, **members}


def created() -> list[dict[str, Any]]:
    return [
        {"type": "response.created", "response": response()},
        {"type": "response.in_progress", "response": response()},
    ]


def completed(**members: Any) -> dict[str, Any]:
    return {"type": "response.completed", "response": response("completed", usage=USAGE, **members)}


def added(index: int, item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def done(index: int, item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def at(kind: str, index: int, **members: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "output_index": index, "item_id": "changes_from_event_to_event", **members}


def part(text: str, annotations: Any = ()) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": list(annotations), "logprobs": []}


def message(*parts: dict[str, Any], status: str = "completed", **members: Any) -> dict[str, Any]:
    return {"type": "message", "id": "msg_up", "role": "assistant", "status": status, "content": list(parts), **members}


def spoken(index: int, *pieces: str, **members: Any) -> list[dict[str, Any]]:
    """All events of a message with one text."""
    text = "".join(pieces)
    place = {"content_index": 0}
    return [
        added(index, message(status="in_progress", **members)),
        at("content_part.added", index, **place, part=part("")),
        *[at("output_text.delta", index, **place, delta=piece, logprobs=[], obfuscation="x7Gd") for piece in pieces],
        at("output_text.done", index, **place, text=text, logprobs=[]),
        at("content_part.done", index, **place, part=part(text)),
        done(index, message(part(text), **members)),
    ]


def function(arguments: str, name: str = "weather", call_id: str = "call_up", **members: Any) -> dict[str, Any]:
    given = {"type": "function_call", "id": "fc_up", "call_id": call_id, "name": name, "arguments": arguments}
    return {"status": "completed", **given, **members}


def called(index: int, *pieces: str, **members: Any) -> list[dict[str, Any]]:
    whole = "".join(pieces)
    return [
        added(index, function("", status="in_progress", **members)),
        *[at("function_call_arguments.delta", index, delta=piece) for piece in pieces],
        at("function_call_arguments.done", index, arguments=whole),
        done(index, function(whole, **members)),
    ]


def reasoned(index: int, *summaries: str, encrypted: str | None = "gAAAA-all") -> list[dict[str, Any]]:
    item = {"type": "reasoning", "id": "rs_up", "summary": [], "content": []}
    events = [added(index, {**item, "encrypted_content": "gAAAA-not-all-of-it"})]
    for number, text in enumerate(summaries):
        place = {"summary_index": number}
        events += [
            at("reasoning_summary_part.added", index, **place, part={"type": "summary_text", "text": ""}),
            at("reasoning_summary_text.delta", index, **place, delta=text[:4]),
            at("reasoning_summary_text.delta", index, **place, delta=text[4:]),
            at("reasoning_summary_text.done", index, **place, text=text),
            at("reasoning_summary_part.done", index, **place, part={"type": "summary_text", "text": text}),
        ]
    summary = [{"type": "summary_text", "text": text} for text in summaries]
    return [*events, done(index, {**item, "summary": summary, "encrypted_content": encrypted})]


def stream(*events: dict[str, Any]) -> Answer:
    return sse(*created(), *events, completed(), named=True)


async def heard(http: httpx.AsyncClient, answer: Answer, asked: Any = None, **settings: Any) -> list[Delta]:
    async with Wire(answer) as wire:
        provider = OpenAIResponses(wire.provider("openai", path="/v1", **settings), http, "sk-configured")
        return await sampled(provider, asked or call())


async def sent(http: httpx.AsyncClient, asked: Any, **settings: Any) -> dict[str, Any]:
    async with Wire(stream(*spoken(0, "ok"))) as wire:
        provider = OpenAIResponses(wire.provider("openai", path="/v1", **settings), http, "sk-configured")
        await sampled(provider, asked)
        return wire.requests[0].json


async def broken_off(provider: OpenAIResponses) -> tuple[list[Delta], OpenResponsesError | None]:
    """What was heard before the error."""
    deltas: list[Delta] = []
    try:
        async for delta in provider.sample(call()):
            deltas.append(delta)
    except OpenResponsesError as error:
        return deltas, error
    return deltas, None


async def written(http: httpx.AsyncClient, *items: dict[str, Any], **settings: Any) -> list[dict[str, Any]]:
    return (await sent(http, call(list(items)), **settings))["input"]


def tool(name: str = "weather", **members: Any) -> dict[str, Any]:
    return {"type": "function", "name": name, **members}


FULL = stream(
    *reasoned(0, "First, **look**.", "Then — say it."),
    *spoken(1, "Ich sehe nach … ", "🎈", phase="commentary"),
    *called(2, '{"city":', '"Zürich"}'),
    done(3, {"type": "web_search_call", "id": "ws_up", "status": "completed", "action": {"type": "search"}}),
)


def error(message: str, kind: str = "invalid_request_error", code: str | None = None, param: Any = None) -> Any:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


HALF = sse(*created(), at("output_text.delta", 0, content_index=0, delta="Half"))
