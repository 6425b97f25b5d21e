"""`file_search` in front of any provider: the model searches the tenant's vector stores, and cites their files."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest_asyncio
from openai import AsyncOpenAI

from open_responses.ids import new_id
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.fake_vendors import Vendors
from tests.support.responses_http import is_error
from tests.support.scripts import script, types
from tests.support.stack import Stack, check_whole, collect, http_client
from tests.support.vendor_scripts import Spoken, call

CATS = "Cats sleep for sixteen hours a day."
RENT = "The rent is due on the first working day."


@dataclass(frozen=True)
class Library:
    """A vector store of two files."""

    store: str
    cats: str
    rent: str

    def tool(self, **settings: Any) -> dict[str, Any]:
        return {"type": "file_search", "vector_store_ids": [self.store], **settings}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def library(session_stack: Stack) -> AsyncIterator[Library]:
    await session_stack.heal()
    async with http_client(session_stack.api_url) as client:
        files = []
        for name, text in (("cats.txt", CATS), ("rent.txt", RENT)):
            form: Any = {"data": {"purpose": "assistants"}, "files": {"file": (name, text.encode())}}
            files.append((await client.post("/v1/files", **form)).json()["id"])
        store = (await client.post("/v1/vector_stores", json={"file_ids": files})).json()["id"]
        attributes = {"attributes": {"topic": "law"}}
        await client.post(f"/v1/vector_stores/{store}/files/{files[1]}", json=attributes)
        deadline = time.monotonic() + 120
        while (await client.get(f"/v1/vector_stores/{store}")).json()["status"] != "completed":
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        yield Library(store, *files)


def asks(*queries: str) -> Script:
    return calls(("call_1", "file_search", {"queries": list(queries)}))


async def test_a_search_is_openais_item_and_the_answer_cites_the_file(
    client: httpx.AsyncClient, upstream: Upstream, library: Library
) -> None:
    script(upstream, "how long do cats sleep", asks("sleep of cats"), Script(literal="Sixteen hours【1:1】."))
    body = {"input": "how long do cats sleep", "tools": [library.tool()], "include": ["file_search_call.results"]}
    events = await collect(client, body)
    response = check_whole(events, "Sixteen hours.")
    search, message = response["output"]
    assert (search["type"], search["status"], search["queries"]) == ("file_search_call", "completed", ["sleep of cats"])
    best = search["results"][0]
    assert (best["file_id"], best["filename"], best["text"]) == (library.cats, "cats.txt", CATS)
    assert 0.3 < best["score"] <= 1
    (cited,) = message["content"][0]["annotations"]
    assert (cited["type"], cited["file_id"], cited["filename"]) == ("file_citation", library.cats, "cats.txt")
    kinds = [event["type"] for event in events if event["type"].startswith("response.file_search_call")]
    assert [kind.rpartition(".")[2] for kind in kinds] == ["in_progress", "searching", "completed"]
    assert CATS in upstream.requests[-1]["messages"][-1]["content"]


async def test_results_are_left_out_unless_include_names_them_and_filters_hold(
    client: httpx.AsyncClient, upstream: Upstream, library: Library
) -> None:
    script(upstream, "only law", asks("sleep of cats"), Script(literal="Nothing about cats."))
    law = {"type": "eq", "key": "topic", "value": "law"}
    events = await collect(client, {"input": "only law", "tools": [library.tool(filters=law)]})
    response = check_whole(events, "Nothing about cats.")
    assert response["output"][0]["results"] is None
    read = upstream.requests[-1]["messages"][-1]["content"]
    assert RENT in read
    assert CATS not in read
    script(upstream, "nothing fits", asks("zzz"), Script(literal="No."))
    strict = library.tool(ranking_options={"score_threshold": 1})
    await collect(client, {"input": "nothing fits", "tools": [strict]})
    assert "Nothing was found" in upstream.requests[-1]["messages"][-1]["content"]


async def test_anthropics_wire_format_from_the_openai_sdk(stack: Stack, vendors: Vendors, library: Library) -> None:
    vendors.says(
        "when is the rent due",
        Spoken(words=0, tool_calls=[call("file_search", queries=["rent due"])]),
        Spoken(literal="On the first working day【1:1】."),
    )
    sdk = AsyncOpenAI(base_url=f"{stack.api_url}/v1", api_key="none", max_retries=0)
    response = await sdk.responses.create(
        model="anthropic-fake",
        input="when is the rent due",
        tools=[{"type": "file_search", "vector_store_ids": [library.store], "max_num_results": 1}],
        include=["file_search_call.results"],
    )
    assert [item.type for item in response.output] == ["file_search_call", "message"], response.to_json()
    search, message = response.output
    assert search.type == "file_search_call"
    assert [result.filename for result in search.results or []] == ["rent.txt"]
    assert message.type == "message"
    assert message.content[0].type == "output_text"
    (cited,) = message.content[0].annotations
    assert cited.type == "file_citation"
    assert cited.file_id == library.rent
    assert "【" not in response.output_text


async def test_a_bad_tool_is_refused_before_anything_starts(
    client: httpx.AsyncClient, upstream: Upstream, library: Library
) -> None:
    tries: list[tuple[Any, int, str, str]] = [
        (library.tool(vector_store_ids=[new_id("vs_")]), 404, "not_found", "tools[0].vector_store_ids[0]"),
        ({"type": "file_search"}, 400, "missing_required_parameter", "tools[0].vector_store_ids"),
        (library.tool(vector_store_ids=[]), 400, "invalid_value", "tools[0].vector_store_ids"),
        (library.tool(max_num_results=51), 400, "invalid_value", "tools[0].max_num_results"),
        (library.tool(filters={"type": "like"}), 400, "invalid_value", "tools[0].filters.type"),
    ]
    for tool, status, code, param in tries:
        body = {"model": "fake", "input": "never searched", "tools": [tool]}
        is_error(await client.post("/v1/responses", json=body), status, code, param)
    assert "never searched" not in upstream.scripts


async def test_a_call_that_cannot_be_run_is_a_failed_item_and_the_response_goes_on(
    client: httpx.AsyncClient, upstream: Upstream, library: Library
) -> None:
    script(upstream, "no query", calls(("c", "file_search", {"wrong": 1})), Script(literal="Sorry."))
    response = check_whole(await collect(client, {"input": "no query", "tools": [library.tool()]}), "Sorry.")
    assert types(response) == ["file_search_call", "message"]
    assert response["output"][0]["status"] == "failed"
    assert "queries" in json.dumps(upstream.requests[-1]["messages"][-1])
