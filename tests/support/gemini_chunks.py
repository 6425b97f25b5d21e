"""The chunks of Gemini's API, and calls that are sampled from them.

The shapes follow recorded streams and errors of vercel/ai (`packages/google/src/__fixtures__`) and pydantic-ai
(`tests/models/cassettes/test_google`); the words are ours.
"""

from __future__ import annotations

from typing import Any

import httpx

from activities.providers.gemini import Gemini
from open_responses.contracts import SampleCall
from open_responses.deltas import Delta
from open_responses.json_types import JsonObject
from tests.support.provider_wire import Answer, Wire, call, sampled, sse

GEMINI_3 = "gemini-3-flash-preview"
GEMINI_2_5 = "gemini-2.5-flash"
USAGE = {"promptTokenCount": 11, "candidatesTokenCount": 7, "totalTokenCount": 60, "thoughtsTokenCount": 42}


def chunk(*parts: JsonObject, finish: str | None = None, usage: JsonObject | None = USAGE, **more: Any) -> JsonObject:
    candidate: JsonObject = {"index": 0, **more}
    if parts:
        candidate["content"] = {"role": "model", "parts": list(parts)}
    if finish:
        candidate["finishReason"] = finish
    counted = {"usageMetadata": usage} if usage is not None else {}
    return {"candidates": [candidate], **counted, "modelVersion": "gemini-3-flash", "responseId": "r1"}


def text(said: str, **more: Any) -> JsonObject:
    return {"text": said, **more}


def function_call(name: str, args: JsonObject | None = None, **more: Any) -> JsonObject:
    return {"functionCall": {"name": name, **({"args": args} if args is not None else {})}, **more}


HELLO = sse(chunk(text("Hello")), chunk(text(""), finish="STOP"))


async def answer_of(http: httpx.AsyncClient, answer: Answer, asked: SampleCall | None = None) -> list[Delta]:
    async with Wire(answer) as wire:
        return await sampled(Gemini(wire.provider("gemini"), http, "key"), asked or call("hello", model=GEMINI_3))


async def sent_by(http: httpx.AsyncClient, asked: SampleCall) -> JsonObject:
    async with Wire(HELLO) as wire:
        await sampled(Gemini(wire.provider("gemini"), http, "key"), asked)
        return wire.requests[0].json


async def contents_of(http: httpx.AsyncClient, items: list[JsonObject], model: str = GEMINI_3) -> list[JsonObject]:
    contents: list[JsonObject] = (await sent_by(http, call(items, model=model)))["contents"]
    return contents


def user(said: Any) -> JsonObject:
    return {"role": "user", "content": said}
