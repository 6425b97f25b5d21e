"""A research agent, to be copied: it searches the web and files, reads pages, takes notes, and reports with citations.

The agent is a request: which model, what to do, which tools. The server runs the loop, so nothing of it is here, and
nothing is lost when a worker dies. With a server that has `[web_search]`, and `[file_search]` for files:

python -m examples.research --model NAME --file handbook.pdf "How many days of leave do I have, and elsewhere?"
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

INSTRUCTIONS = (
    "Research the questions of the user on the web and in the files: search, open the pages that look best, and report "
    "what they say. Cite a source for each statement."
)


def tools(store: str | None) -> list[Any]:
    """What the model may use. `store`: a vector store with the user's files."""
    return [
        {"type": "web_search", "search_context_size": "medium"},
        *([{"type": "file_search", "vector_store_ids": [store], "max_num_results": 3}] if store else []),
        # The server's own functions, `[[tools]]` in its configuration.
        {"type": "open_responses:hosted_tools"},
    ]


async def store_of(client: AsyncOpenAI, files: Sequence[Path]) -> str:
    """A vector store with these files, once they can be searched."""
    store = await client.vector_stores.create(name="research", expires_after={"anchor": "last_active_at", "days": 1})
    for path in files:
        file = await client.files.create(file=path, purpose="assistants")
        await client.vector_stores.files.create_and_poll(file.id, vector_store_id=store.id, poll_interval_ms=200)
    return store.id


async def research(
    client: AsyncOpenAI, model: str, task: str, on_event: Callable[[dict[str, Any]], None], store: str | None = None
) -> dict[str, Any]:
    """The finished response. `on_event` gets each event of the stream."""
    last: dict[str, Any] = {}
    stream = await client.responses.create(
        model=model,
        instructions=INSTRUCTIONS,
        input=task,
        tools=tools(store),
        include=["web_search_call.action.sources"],
        stream=True,
        timeout=3600,
    )
    async for event in stream:
        last = event.to_dict()
        on_event(last)
    return dict(last["response"])


def show(event: dict[str, Any]) -> None:
    """Print what happens: the text as it arrives, and each call."""
    match event:
        case {"type": "response.output_text.delta", "delta": delta}:
            print(delta, end="", flush=True)
        case {
            "type": "response.output_item.done",
            "item": {"type": "web_search_call", "action": action, "status": status},
        }:
            print(f"  {action['type']} {action.get('query') or action.get('url')} [{status}]")
        case {"type": "response.output_item.done", "item": {"type": "file_search_call", "queries": queries}}:
            print(f"  file search {queries}")
        case {"type": "response.output_item.done", "item": {"type": "function_call", "name": name, "arguments": given}}:
            print(f"  {name} {given[:100]}")
        case {"type": "open_responses:attempt", "turn": turn, "attempt": attempt, "reason": reason, "action": action}:
            print(f"    [turn {turn}: attempt {attempt}, since {reason}: {action}]")


def citations(response: dict[str, Any]) -> list[tuple[str, str]]:
    """What the report cites: the title and the address of a page, or the name and the id of a file."""
    return [
        (note["title"], note["url"]) if note["type"] == "url_citation" else (note["filename"], note["file_id"])
        for item in response["output"]
        if item["type"] == "message"
        for part in item["content"]
        for note in part.get("annotations", [])
    ]


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("question")
    parser.add_argument("--base-url", default="http://127.0.0.1:8080/v1")
    parser.add_argument("--api-key", default="none")
    parser.add_argument("--model", required=True)
    parser.add_argument("--file", type=Path, action="append", default=[], help="a file to search in; several times")
    asked = parser.parse_args()
    async with AsyncOpenAI(base_url=asked.base_url, api_key=asked.api_key) as client:
        store = await store_of(client, asked.file) if asked.file else None
        response = await research(client, asked.model, asked.question, show, store)
    print("\n\nSources:")
    for title, place in dict.fromkeys(citations(response)):
        print(f"- {title}: {place}")


if __name__ == "__main__":
    asyncio.run(main())
