"""A stand-in for "Parley", the API of `custom_provider.py`: it says back what it was told, and calls a tool if asked.

python -m examples.custom_server 8099
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

_PAUSE_SECONDS = 0.02


async def talk(request: Request) -> StreamingResponse:
    """The answer, as a stream of lines."""
    return StreamingResponse(_stream(await request.json()), media_type="application/x-ndjson")


async def _stream(asked: dict[str, Any]) -> AsyncIterator[str]:
    for line in _lines(asked):
        yield json.dumps(line) + "\n"
        await asyncio.sleep(_PAUSE_SECONDS)


def _lines(asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    turns, tools = asked["turns"], asked.get("tools", [])
    heard = next(turn["text"] for turn in reversed(turns) if turn["by"] in ("user", "tool"))
    read = len(json.dumps(asked).split())
    if tools and turns[-1]["by"] == "user" and heard.startswith("call"):
        yield {"call": {"index": 0, "id": f"call_{len(turns)}", "name": tools[0]["name"], "arguments": {}}}
        yield {"end": "calls", "read": read, "said": 1}
        return
    begun = turns[-1]["text"] if turns[-1]["by"] == "model" else ""
    words = re.findall(r"\S+\s*", f"You said: {heard}".removeprefix(begun))
    for word in words[: asked.get("limit")]:
        yield {"say": word}
    yield {"end": "limit" if len(words) > asked.get("limit", len(words)) else "done", "read": read, "said": len(words)}


app = Starlette(routes=[Route("/talk", talk, methods=["POST"])])

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.custom_server", description=__doc__)
    parser.add_argument("port", type=int)
    uvicorn.run(app, port=parser.parse_args().port, log_level="warning")
