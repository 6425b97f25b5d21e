"""A provider's wire, for the adapters' own tests: canned answers over a real socket, cut at any byte.

    async with Wire(answer(body, content_type="text/event-stream")) as wire:
        deltas = await sampled(Adapter(wire.provider("anthropic"), http, "key"), call(items))
    assert wire.requests[0].json["model"] == "…"

Each request takes the next answer; the last one is given again and again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import pytest

from open_responses.config import ProviderConfig
from open_responses.contracts import Provider, SampleCall
from open_responses.deltas import Delta, Finish, TextDelta
from open_responses.errors import OpenResponsesError
from open_responses.events.assembler import Assembler
from open_responses.schema.requests import CreateResponse

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CLOCK = {"type": "function", "name": "get_time"}


@dataclass(frozen=True)
class Answer:
    """`cut` sends the body in pieces of so many bytes; `breaks` drops the connection behind it, `stalls` is silent."""

    body: bytes = b""
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    breaks: bool = False
    stalls: bool = False


@dataclass(frozen=True)
class Received:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads(self.body)
        return read


class Wire:
    """One server on loopback."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[Received] = []
        self.port = 0
        self._server: asyncio.Server | None = None

    def provider(self, adapter: str, **settings: Any) -> ProviderConfig:
        """A configuration that points here. `path` is put behind the host, as in `base_url = ".../v1"`."""
        path = settings.pop("path", "")
        settings = {"name": adapter, "timeout_seconds": 5, **settings}
        return ProviderConfig(adapter=adapter, base_url=f"http://127.0.0.1:{self.port}{path}", **settings)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, path, _ = head[0].split(" ", 2)
            headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.requests.append(Received(method, path, headers, body))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            await _send(writer, answer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def _send(writer: asyncio.StreamWriter, answer: Answer) -> None:
    head = [f"HTTP/1.1 {answer.status} X", f"Content-Type: {answer.content_type}", "Connection: close"]
    head += [f"{name}: {value}" for name, value in answer.headers.items()]
    if answer.breaks or answer.stalls:
        head.append(f"Content-Length: {len(answer.body) + 1}")
    writer.write("\r\n".join([*head, "", ""]).encode())
    step = answer.cut or max(1, len(answer.body))
    for start in range(0, len(answer.body), step):
        writer.write(answer.body[start : start + step])
        await writer.drain()
        if answer.cut:
            await asyncio.sleep(0)
    if answer.stalls:
        await asyncio.sleep(60)


def sse(*events: dict[str, Any], named: bool = False, done: bool = False) -> Answer:
    """An event stream of these objects; `named` adds `event:` with their `type`, `done` the `[DONE]` of OpenAI's."""
    text = ""
    for event in events:
        text += f"event: {event['type']}\n" if named else ""
        text += f"data: {json.dumps(event, ensure_ascii=False)}\n\n"
    return Answer((text + ("data: [DONE]\n\n" if done else "")).encode(), content_type="text/event-stream")


def refusal(status: int, body: Any, **headers: str) -> Answer:
    return Answer(json.dumps(body).encode(), status, headers={k.replace("_", "-"): v for k, v in headers.items()})


def call(items: Any = "hello", *, model: str = "model-1", **request: Any) -> SampleCall:
    """A call as the sample activity makes it: `items` is the Responses `input`, `request` its other members.

    `tools` are those of the request that are functions; `prefix`, `api_key`, `resume_token`, `max_output_tokens` go
    to the call.
    """
    own = {key: request.pop(key) for key in ("prefix", "api_key", "resume_token", "provider_tools") if key in request}
    asked = CreateResponse.model_validate({"model": model, "input": items, **request})
    return SampleCall(
        model=model,
        items=asked.input_items(),
        request=asked,
        tools=[tool for tool in asked.tools or [] if tool.type == "function"],
        tool_choice=asked.tool_choice,
        max_output_tokens=asked.max_output_tokens,
        **own,
    )


async def sampled(provider: Provider, asked: SampleCall) -> list[Delta]:
    return [delta async for delta in provider.sample(asked)]


async def failure_of(provider: Provider, asked: SampleCall) -> OpenResponsesError:
    """The error that the call ends with."""
    with pytest.raises(OpenResponsesError) as caught:
        await sampled(provider, asked)
    return caught.value


def text_of(deltas: Sequence[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


def finish_of(deltas: Sequence[Delta]) -> Finish:
    """The one word that every answer ends with."""
    assert [type(delta) for delta in deltas].count(Finish) == 1
    last = deltas[-1]
    assert isinstance(last, Finish)
    return last


def outputs_of(deltas: Sequence[Delta]) -> list[dict[str, Any]]:
    """The output items that a client gets of these deltas, and sends back on the next turn."""
    assembler = Assembler()
    for delta in deltas:
        assembler.feed(delta)
    assembler.close("completed")
    return [dict(item) for item in assembler.fold.output]


def made_call(call_id: str, arguments: str = '{"city": "Oslo"}', name: str = "get_weather") -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}


def output_of(call_id: str, output: Any = "sunny") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": output}
