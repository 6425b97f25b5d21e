"""A stand-in for a model that can use tools, for examples without an account: Chat Completions over HTTP.

It plays a researcher: for each question it searches the web and opens the two best pages, or searches the files, notes
what the best source says, and at the end reports from its notes, with the marks of the sources. It decides from the
conversation alone, so any process may ask it for the next step.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

_PAUSE_SECONDS = 0.03
_OPENED = 2
_SOURCE = re.compile(r"^(【\d+:\d+】) (.+)\n(https?://\S+)", re.MULTILINE)
_PASSAGE = re.compile(r"^(【\d+:\d+】) (.+)\n", re.MULTILINE)
_IN_FILES = "In our files: "
_Calls: TypeAlias = list[tuple[str, dict[str, Any]]]


async def complete(request: Request) -> StreamingResponse:
    """The next step, as a stream of chunks."""
    messages = (await request.json())["messages"]
    return StreamingResponse(_stream(_next_step(messages), _started(messages)), media_type="text/event-stream")


def _next_step(messages: list[dict[str, Any]]) -> _Calls | str:
    """Calls, each as a name and arguments, or the text of the report."""
    task = next(_text(message) for message in messages if message["role"] == "user")
    questions = [line.removeprefix("- ") for line in task.splitlines() if line.startswith("- ")]
    results = _results(messages)
    noted = results.get("take_note", [])
    if len(noted) == len(questions):
        notes = [json.loads(note)["noted"] for note in noted]
        return "\n".join([f"I looked into {len(questions)} questions.", *(f"- {note}" for note in notes)])
    question = questions[len(noted)]
    if question.startswith(_IN_FILES):
        return _in_files(question, [one for one in questions[: len(noted)] if one.startswith(_IN_FILES)], results)
    searches, pages = results.get("web_search", []), results.get("open_page", [])
    if len(searches) == sum(not one.startswith(_IN_FILES) for one in questions[: len(noted)]):
        return [("web_search", {"query": question})]
    sources = _SOURCE.findall(searches[-1])[:_OPENED]
    if len(pages) < _OPENED * len(searches):
        return [("open_page", {"url": url}) for _, _, url in sources]
    mark, title, _ = sources[0]
    note = f"{title}: {_gist(pages[-len(sources)])} {mark}"
    return [("take_note", {"document": question, "note": note})]


def _in_files(question: str, earlier: list[str], results: dict[str, list[str]]) -> _Calls:
    searches = results.get("file_search", [])
    if len(searches) == len(earlier):
        return [("file_search", {"queries": [question.removeprefix(_IN_FILES)]})]
    mark, name = _PASSAGE.findall(searches[-1])[0]
    return [("take_note", {"document": question, "note": f"{name}: {_gist(searches[-1])} {mark}"})]


def _results(messages: list[dict[str, Any]]) -> dict[str, list[str]]:
    """The outputs of the calls so far, by the name of the function."""
    names = {call["id"]: call["function"]["name"] for message in messages for call in message.get("tool_calls") or []}
    found: dict[str, list[str]] = {}
    for message in messages:
        if message["role"] == "tool":
            found.setdefault(names[message["tool_call_id"]], []).append(_text(message))
    return found


def _text(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _gist(page: str) -> str:
    """The first sentence of the page's text that is long enough to say something."""
    text = page.partition("\n")[2]
    lines = (line.strip() for line in text.splitlines())
    line = next((line for line in lines if len(line) > 60 and line[0].isalpha()), "(nothing)")
    return line.partition(". ")[0][:200]


def _started(messages: list[dict[str, Any]]) -> str:
    """The beginning of an answer that broke off: it goes on from there."""
    return messages[-1]["content"] or "" if messages[-1]["role"] == "assistant" else ""


async def _stream(step: _Calls | str, started: str) -> AsyncIterator[str]:
    if isinstance(step, str):
        rest = step.removeprefix(started)
        for word in rest.replace("\n", "\n ").split(" "):
            yield _chunk({"content": word if word.endswith("\n") else word + " "})
            await asyncio.sleep(_PAUSE_SECONDS)
        finish = "stop"
    else:
        await asyncio.sleep(5 * _PAUSE_SECONDS)
        for index, (name, arguments) in enumerate(step):
            function = {"name": name, "arguments": json.dumps(arguments)}
            call = {"index": index, "id": f"call_{index}", "type": "function", "function": function}
            yield _chunk({"tool_calls": [call]})
        finish = "tool_calls"
    yield _chunk({}, finish)
    yield "data: [DONE]\n\n"


def _chunk(delta: dict[str, Any], finish: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return f"data: {json.dumps({'object': 'chat.completion.chunk', 'model': 'scripted', 'choices': [choice]})}\n\n"


app = Starlette(routes=[Route("/v1/chat/completions", complete, methods=["POST"])])

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.scripted_model", description=__doc__)
    parser.add_argument("port", type=int)
    uvicorn.run(app, port=parser.parse_args().port, log_level="warning")
