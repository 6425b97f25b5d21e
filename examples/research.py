"""A research agent, to be copied: it searches the web, reads pages, takes notes, and reports with citations.

The agent is a request: which model, what to do, which tools. The server runs the loop, so nothing of it is here, and
nothing is lost when a worker dies. With a server that has `[web_search]`:

python -m examples.research --base-url http://127.0.0.1:8000/v1 --model NAME "How do heat pumps work in frost?"
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from typing import Any

from openai import AsyncOpenAI

INSTRUCTIONS = (
    "Research the questions of the user on the web: search, open the pages that look best, and report what they say. "
    "Cite a source for each statement."
)
TOOLS: list[Any] = [
    {"type": "web_search", "search_context_size": "medium"},
    # The server's own functions, `[[tools]]` in its configuration.
    {"type": "open_responses:hosted_tools"},
]


async def research(
    client: AsyncOpenAI, model: str, task: str, on_event: Callable[[dict[str, Any]], None], tools: list[Any] = TOOLS
) -> dict[str, Any]:
    """The finished response. `on_event` gets each event of the stream."""
    last: dict[str, Any] = {}
    stream = await client.responses.create(
        model=model,
        instructions=INSTRUCTIONS,
        input=task,
        tools=tools,
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
        case {"type": "response.output_item.done", "item": {"type": "function_call", "name": name, "arguments": given}}:
            print(f"  {name} {given[:100]}")
        case {"type": "open_responses:attempt", "turn": turn, "attempt": attempt, "reason": reason, "action": action}:
            print(f"    [turn {turn}: attempt {attempt}, since {reason}: {action}]")


def citations(response: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What the report cites: the cited text, the title and the address of its source."""
    return [
        (part["text"][note["start_index"] : note["end_index"]], note["title"], note["url"])
        for item in response["output"]
        if item["type"] == "message"
        for part in item["content"]
        for note in part.get("annotations", [])
        if note["type"] == "url_citation"
    ]


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("question")
    parser.add_argument("--base-url", default="http://127.0.0.1:8000/v1")
    parser.add_argument("--api-key", default="none")
    parser.add_argument("--model", required=True)
    asked = parser.parse_args()
    async with AsyncOpenAI(base_url=asked.base_url, api_key=asked.api_key) as client:
        response = await research(client, asked.model, asked.question, show)
    print("\n\nSources:")
    for title, url in dict.fromkeys((title, url) for _, title, url in citations(response)):
        print(f"- {title}: {url}")


if __name__ == "__main__":
    asyncio.run(main())
