"""An MCP server that does what a real one should not: `python -m tests.support.odd_mcp_server PORT`.

By hand, since the SDK's own would not let it: it lies about schemas, compresses unasked, and breaks when it has worked.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

EMPTY: dict[str, Any] = {"type": "object", "properties": {}}
runs: Counter[str] = Counter()


def _deep(levels: int) -> dict[str, Any]:
    schema = EMPTY
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


TOOLS = [
    {"name": "deep", "description": "Goes deep.", "inputSchema": _deep(60)},
    {"name": "odd_type", "inputSchema": {"type": "object", "properties": {"a": {"type": "strnig"}}}},
    {"name": "zipped", "inputSchema": EMPTY},
    {"name": "pays", "inputSchema": EMPTY},
    {"name": "reads", "inputSchema": EMPTY, "annotations": {"readOnlyHint": True}},
    {"name": "pays_slowly", "inputSchema": EMPTY},
    {"name": "reads_slowly", "inputSchema": EMPTY, "annotations": {"readOnlyHint": True}},
    {"name": "closes_the_stream", "inputSchema": EMPTY},
    {"name": "closes_the_connection", "inputSchema": EMPTY},
    {"name": "sends_too_much", "inputSchema": EMPTY},
    {"name": "sends_garbage", "inputSchema": EMPTY},
    {"name": "sends_a_page", "inputSchema": EMPTY},
    {"name": "sends_half_an_answer", "inputSchema": EMPTY},
    {"name": "only_accepts", "inputSchema": EMPTY},
    {"name": "is_elsewhere", "inputSchema": EMPTY},
    {"name": "is_slowed_down", "inputSchema": EMPTY},
    {"name": "breaks_its_word", "inputSchema": EMPTY, "outputSchema": {**EMPTY, "required": ["a"]}},
    {"name": "reads_and_closes", "inputSchema": EMPTY, "annotations": {"readOnlyHint": True}},
    {"name": "refuses", "inputSchema": EMPTY},
    {"name": "forbids", "inputSchema": EMPTY},
    {"name": "has_an_error", "inputSchema": EMPTY},
    {"name": "has_an_error_on_a_stream", "inputSchema": EMPTY},
    {"name": "fails_by_itself", "inputSchema": EMPTY},
    {"name": "draws", "inputSchema": EMPTY},
    {"name": "returns_a_list", "inputSchema": EMPTY},
    {"name": "says_its_list_changed", "inputSchema": EMPTY},
    {"name": "tally", "inputSchema": EMPTY},
    # Each of these took the whole list away.
    {"name": "odd_null", "inputSchema": None},
    {"name": "odd_missing"},
    {"name": "odd_empty", "inputSchema": {}},
    {"name": "odd_array", "inputSchema": [{"name": "a"}]},
    {"name": "odd_types", "inputSchema": {"type": ["object", "null"], "properties": {"a": {"type": "string"}}}},
    {"name": "odd_capitals", "inputSchema": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}},
    {"name": "odd_nulls", "inputSchema": {"type": "object", "properties": None, "required": None}},
    {"name": "odd_hint", "inputSchema": EMPTY, "annotations": {"readOnlyHint": "true", "title": 3}},
    {"name": "odd_hints", "inputSchema": EMPTY, "annotations": "safe"},
    {"name": "odd_output", "inputSchema": EMPTY, "outputSchema": []},
    {"name": "odd_output_type", "inputSchema": EMPTY, "outputSchema": {"type": "OBJECT"}},
    {"name": "odd_words", "inputSchema": EMPTY, "description": {"en": "Does it."}, "title": 1, "icons": {}},
    {"name": 7, "inputSchema": EMPTY},
    "not a tool",
]
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PDF = "JVBERi0xLjQKJeLjz9M="
DRAWN = [
    {"type": "text", "text": "Here it is.", "annotations": {"priority": "high"}},
    # The declared type is not that of the bytes.
    {"type": "image", "data": PNG, "mimeType": "image/jpeg"},
    {"type": "audio", "data": "UklGRiQAAABXQVZF", "mimeType": "audio/x-wav"},
    {"type": "resource", "resource": {"uri": "file:///a/report.pdf", "mimeType": "application/pdf", "blob": PDF}},
    {"type": "resource", "resource": {"uri": "file:///a/b.zip", "mimeType": "application/zip", "blob": "UEsDBA=="}},
    {"type": "resource", "resource": {"uri": "file:///a.csv", "mimeType": "text/csv", "blob": "YSxi"}},
    {"type": "resource_link", "uri": "https://example.com/c", "name": "c", "description": "The third."},
    {"type": "hologram", "data": "who knows"},
    {"type": "image"},
]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    await (await _answer(json.loads(body or b"{}"), headers))(scope, receive, send)


async def _answer(call: dict[str, Any], headers: dict[str, str]) -> Response:
    match call.get("method"):
        case "initialize":
            info = {"name": "odd", "version": "1"}
            return _result(call, {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info})
        case "tools/list":
            runs[f"list {headers.get('x-case')}"] += 1
            listed = _result(call, {"tools": TOOLS})
            if "x-cache-control" in headers:
                listed.headers["cache-control"] = headers["x-cache-control"]
            return listed
        case "tools/call":
            return await _called(call, call["params"]["name"])
    if "id" not in call:
        return Response(status_code=202)
    error = {"code": -32601, "message": "no such method"}
    return JSONResponse({"jsonrpc": "2.0", "id": call["id"], "error": error})


async def _called(call: dict[str, Any], name: str) -> Response:
    if name == "tally":
        return _text(call, json.dumps(runs))
    runs[name] += 1
    if name in ("pays", "reads") and runs[name] == 1:
        return Response("it was done, and then it broke", status_code=502)
    if name.endswith("slowly") and runs[name] == 1:
        # Longer than any test waits until it kills the caller.
        await asyncio.sleep(100)
    if name == "zipped":
        whole = _text(call, "x" * 20_000_000)
        headers = {"content-encoding": "gzip"}
        return Response(gzip.compress(bytes(whole.body)), media_type="application/json", headers=headers)
    if name == "reads_and_closes" and runs[name] == 1:
        return _Broken("text/event-stream")
    answer = _ANSWERS.get(name)
    return _text(call, "fine") if answer is None else answer(call)


class _Broken(Response):
    """An answer whose connection is closed in the middle."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", (self.media_type or "").encode()), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        # The server closes the connection of an application that ends before its answer does.

    def __init__(self, media_type: str) -> None:
        super().__init__(b": here it comes\n\n", media_type=media_type)


def _event(message: dict[str, Any]) -> Response:
    return Response(f"event: message\ndata: {json.dumps(message)}\n\n", media_type="text/event-stream")


def _error(call: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32602, "message": "no such account"}}


_ANSWERS: dict[str, Callable[[dict[str, Any]], Response]] = {
    "closes_the_stream": lambda _: Response(": here it comes\n\n", media_type="text/event-stream"),
    "closes_the_connection": lambda _: _Broken("text/event-stream"),
    "sends_too_much": lambda call: _text(call, "x" * 9_000_000),
    "sends_garbage": lambda _: Response("{]", media_type="application/json"),
    "sends_a_page": lambda _: Response("<p>It works!", media_type="text/html"),
    "sends_half_an_answer": lambda _: _Broken("application/json"),
    "only_accepts": lambda _: Response(status_code=202),
    "is_elsewhere": lambda _: Response(status_code=302, headers={"location": "https://example.com/"}),
    "is_slowed_down": lambda _: Response(status_code=408),
    "refuses": lambda _: Response(status_code=422),
    "forbids": lambda _: Response(status_code=403),
    "has_an_error": lambda call: JSONResponse(_error(call)),
    "has_an_error_on_a_stream": lambda call: _event(_error(call)),
    "draws": lambda call: _result(call, {"content": DRAWN}),
    "returns_a_list": lambda call: _result(call, {"structuredContent": [1, 2], "isError": "false"}),
    "says_its_list_changed": lambda call: _changed_list(call),
    "fails_by_itself": lambda call: _result(
        call, {"content": [{"type": "text", "text": "too little money"}], "isError": True}
    ),
}


def _changed_list(call: dict[str, Any]) -> Response:
    changed = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
    result = {"jsonrpc": "2.0", "id": call["id"], "result": {"content": [], "isError": False}}
    stream = "".join(f"event: message\ndata: {json.dumps(message)}\n\n" for message in (changed, result))
    return Response(stream, media_type="text/event-stream")


def _text(call: dict[str, Any], text: str) -> Response:
    return _result(call, {"content": [{"type": "text", "text": text}], "isError": False})


def _result(call: dict[str, Any], result: dict[str, Any]) -> Response:
    return JSONResponse({"jsonrpc": "2.0", "id": call["id"], "result": result})


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
