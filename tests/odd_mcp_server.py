"""An MCP server that does what a real one should not: `python -m tests.odd_mcp_server PORT`.

By hand, since the SDK's own would not let it: it lies about schemas, compresses unasked, and breaks when it has worked.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
from collections import Counter
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
    {"name": "tally", "inputSchema": EMPTY},
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
    await (await _answer(json.loads(body or b"{}")))(scope, receive, send)


async def _answer(call: dict[str, Any]) -> Response:
    match call.get("method"):
        case "initialize":
            info = {"name": "odd", "version": "1"}
            return _result(call, {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info})
        case "tools/list":
            return _result(call, {"tools": TOOLS})
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
    if name.endswith("slowly"):
        await asyncio.sleep(4)
    if name == "zipped":
        whole = _text(call, "x" * 20_000_000)
        headers = {"content-encoding": "gzip"}
        return Response(gzip.compress(bytes(whole.body)), media_type="application/json", headers=headers)
    return _text(call, "fine")


def _text(call: dict[str, Any], text: str) -> Response:
    return _result(call, {"content": [{"type": "text", "text": text}], "isError": False})


def _result(call: dict[str, Any], result: dict[str, Any]) -> Response:
    return JSONResponse({"jsonrpc": "2.0", "id": call["id"], "result": result})


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
