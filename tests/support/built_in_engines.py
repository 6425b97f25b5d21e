"""An engine of web search for the tests. It leaves a line in a file for each attempt."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from open_responses.contracts import ToolError
from open_responses.tool_use.built_in_engine import BuiltInResult, BuiltInRun

SECRET_TEXT = "Only the model reads this line"
SOURCE = {"type": "url_citation", "url": "https://www.example.com/berlin?a=1", "title": "Berlin"}


class Search:
    """What it does follows from the query: `fails`, `breaks`, `stumbles`, `slow N`, or a result."""

    async def run(self, call: BuiltInRun) -> BuiltInResult:
        """Answer the query."""
        context, query = call.context, str(call.arguments.get("query", call.arguments.get("url", "")))
        note = {
            "key": context.idempotency_key,
            "attempt": context.attempt,
            "tenant": context.tenant,
            "function": call.function,
            "settings": call.settings,
            "item": call.item,
        }
        with (Path(os.environ["HOSTED_TOOLS_DIR"]) / f"{context.response_id}.searches").open("a") as file:
            file.write(json.dumps(note) + "\n")
        context.progress(f"searching {query}")
        if query == "fails":
            raise ToolError("the search engine is closed")
        if query == "breaks":
            raise RuntimeError("the search engine broke")
        if query == "stumbles" and context.attempt < 3:
            raise RuntimeError(f"attempt {context.attempt} failed")
        if query.startswith("slow"):
            await asyncio.sleep(float(query.split()[1]))
        text = f"{call.mark(0)} Berlin\n{SOURCE['url']}\nBerlin has lakes. {SECRET_TEXT}."
        action = {**call.item["action"], "sources": [{"type": "url", "url": SOURCE["url"]}]}
        return BuiltInResult(output=text, item={"action": action}, citations=[SOURCE])
