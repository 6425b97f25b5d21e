"""`/v1/vector_stores`, from the openai SDK: upload, ingestion, search, and everything that can be wrong with them."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from open_responses.ids import new_id
from tests.support.documents import docx_of, encrypted_pdf, pdf_of
from tests.support.responses_http import is_error
from tests.support.stack import Stack

CATS = "Cats sleep for sixteen hours a day, and are most active at dawn."
LAW = "The tenant pays the rent on the first working day of each month."


def sdk(stack: Stack) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{stack.api_url}/v1", api_key="none", max_retries=0)


async def upload(client: httpx.AsyncClient, data: bytes, name: str) -> str:
    answer = await client.post("/v1/files", data={"purpose": "assistants"}, files={"file": (name, data)})
    found: str = answer.json()["id"]
    return found


async def ingested(client: httpx.AsyncClient, store: str, file: str, seconds: float = 120) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while True:
        found: dict[str, Any] = (await client.get(f"/v1/vector_stores/{store}/files/{file}")).json()
        if found["status"] != "in_progress":
            return found
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.05)


@pytest.mark.campaign
async def test_the_openai_sdk_makes_a_store_attaches_files_and_searches(
    stack: Stack, client: httpx.AsyncClient
) -> None:
    openai_client = sdk(stack)
    store = await openai_client.vector_stores.create(name="library", metadata={"a": "b"})
    assert (store.status, store.file_counts.total) == ("completed", 0)
    cats = await openai_client.vector_stores.files.upload_and_poll(
        vector_store_id=store.id,
        file=("cats.pdf", pdf_of(CATS, "Their whiskers are as wide as their bodies.")),
        attributes={"topic": "animals", "year": 2024},
        poll_interval_ms=50,
    )
    assert (cats.status, cats.last_error) == ("completed", None)
    law = await upload(client, docx_of(LAW), "law.docx")
    broken = await upload(client, encrypted_pdf("a secret"), "locked.pdf")
    odd = await upload(client, b"\x00\x01" * 100, "odd.bin")
    batch = await openai_client.vector_stores.file_batches.create_and_poll(
        store.id,
        files=[{"file_id": law, "attributes": {"topic": "law"}}, {"file_id": broken}, {"file_id": odd}],
        poll_interval_ms=50,
    )
    assert (batch.status, batch.file_counts.completed, batch.file_counts.failed) == ("completed", 1, 2)
    failed = {
        file.id: file.last_error.code
        async for file in openai_client.vector_stores.files.list(store.id, filter="failed")
        if file.last_error is not None
    }
    assert failed == {broken: "invalid_file", odd: "unsupported_file"}
    listed = await openai_client.vector_stores.file_batches.list_files(batch.id, vector_store_id=store.id)
    assert {file.id for file in listed.data} == {law, broken, odd}

    found = (await openai_client.vector_stores.search(store.id, query="How long do cats sleep?")).data
    assert (found[0].file_id, found[0].filename) == (cats.id, "cats.pdf")
    assert CATS in found[0].content[0].text
    assert found[0].attributes == {"topic": "animals", "year": 2024}
    assert 0.4 < found[0].score <= 1
    only_law = await openai_client.vector_stores.search(
        store.id,
        query=["How long do cats sleep?", "rent"],
        filters={"type": "and", "filters": [{"type": "ne", "key": "topic", "value": "animals"}]},
        ranking_options={"score_threshold": 0.1, "ranker": "auto"},
        max_num_results=5,
    )
    assert {one.file_id for one in only_law.data} == {law}
    assert (
        await openai_client.vector_stores.search(store.id, query="zzz", ranking_options={"score_threshold": 1})
    ).data == []
    texts = [page.text async for page in openai_client.vector_stores.files.content(cats.id, vector_store_id=store.id)]
    assert CATS in "".join(text or "" for text in texts)

    changed = await openai_client.vector_stores.files.update(
        law, vector_store_id=store.id, attributes={"topic": "animals"}
    )
    assert changed.attributes == {"topic": "animals"}
    now = await openai_client.vector_stores.update(
        store.id, name="renamed", expires_after={"anchor": "last_active_at", "days": 3}
    )
    assert (now.name, now.metadata) == ("renamed", {"a": "b"})
    assert now.expires_at == (now.last_active_at or 0) + 3 * 86_400
    assert now.file_counts.total == 4
    assert store.id in [one.id async for one in await openai_client.vector_stores.list(limit=1)][:1]
    # A deleted file is found in no store any more.
    await openai_client.files.delete(cats.id)
    again = (await openai_client.vector_stores.search(store.id, query="How long do cats sleep?")).data
    assert cats.id not in [one.file_id for one in again]
    assert (await openai_client.vector_stores.files.delete(law, vector_store_id=store.id)).deleted
    assert (await openai_client.vector_stores.search(store.id, query="rent")).data == []
    assert (await openai_client.files.retrieve(law)).id == law, "the file itself is kept"
    assert (await openai_client.vector_stores.delete(store.id)).deleted
    with pytest.raises(openai.NotFoundError):
        await openai_client.vector_stores.retrieve(store.id)
    assert not (stack.data / "files" / "indexes" / f"{store.id}.sqlite").exists()


async def test_a_bad_request_is_a_400_or_a_404_that_names_the_field(client: httpx.AsyncClient) -> None:
    file = await upload(client, b"text", "a.txt")
    store = (await client.post("/v1/vector_stores")).json()["id"]
    path = f"/v1/vector_stores/{store}"
    unknown = new_id("file-")
    tries: list[tuple[str, Any, int, str, str]] = [
        ("/v1/vector_stores", {"file_ids": [unknown]}, 404, "not_found", "file_ids[0]"),
        (
            "/v1/vector_stores",
            {"expires_after": {"anchor": "created_at", "days": 1}},
            400,
            "invalid_value",
            "expires_after.anchor",
        ),
        (
            "/v1/vector_stores",
            {"expires_after": {"anchor": "last_active_at", "days": 0}},
            400,
            "invalid_value",
            "expires_after.days",
        ),
        ("/v1/vector_stores", {"nmae": "x"}, 400, "unknown_parameter", "nmae"),
        (f"{path}/files", {"file_id": unknown}, 404, "not_found", "file_id"),
        (f"{path}/files", {}, 400, "missing_required_parameter", "file_id"),
        (f"{path}/files", {"file_id": file, "attributes": {"a": []}}, 400, "invalid_value", "attributes.a"),
        (
            f"{path}/files",
            {
                "file_id": file,
                "chunking_strategy": {
                    "type": "static",
                    "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 51},
                },
            },
            400,
            "invalid_value",
            "chunking_strategy.static.chunk_overlap_tokens",
        ),
        (f"{path}/file_batches", {"file_ids": [file], "files": [{"file_id": file}]}, 400, "invalid_value", "file_ids"),
        (f"{path}/file_batches", {"file_ids": [file, unknown]}, 404, "not_found", "file_ids[1]"),
        (f"{path}/search", {}, 400, "missing_required_parameter", "query"),
        (f"{path}/search", {"query": "x", "max_num_results": 51}, 400, "invalid_value", "max_num_results"),
        (f"{path}/search", {"query": "x", "rewrite_query": True}, 400, "unsupported_parameter", "rewrite_query"),
        (
            f"{path}/search",
            {"query": "x", "filters": {"type": "eq", "key": "a"}},
            400,
            "missing_required_parameter",
            "filters.value",
        ),
        (f"/v1/vector_stores/{new_id('vs_')}/search", {"query": "x"}, 404, "not_found", "vector_store_id"),
    ]
    for url, body, status, code, param in tries:
        is_error(await client.post(url, json=body), status, code, param)
    for method, below in (
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/files"),
        ("GET", f"/files/{file}"),
        ("GET", "/file_batches/vsfb_x"),
    ):
        is_error(await client.request(method, f"/v1/vector_stores/vs_x{below}"), 404, "not_found", "vector_store_id")
    is_error(await client.get(f"{path}/file_batches/{new_id('vsfb_')}"), 404, "not_found", "batch_id")
    is_error(await client.get(f"{path}/files?filter=odd"), 400, "invalid_value", "filter")
    is_error(await client.get(f"{path}/files?after={unknown}"), 404, "not_found", "after")
    assert (await client.get(f"{path}/files")).json()["data"] == [], "a request that is refused attaches nothing"


async def test_a_batch_that_is_cancelled_ends(client: httpx.AsyncClient) -> None:
    text = "Each sentence of this file says something of its own. " * 4000
    files = [await upload(client, f"{number} {text}".encode(), "long.txt") for number in range(2)]
    store = (await client.post("/v1/vector_stores")).json()["id"]
    path = f"/v1/vector_stores/{store}/file_batches"
    batch = (await client.post(path, json={"file_ids": files})).json()
    assert batch["status"] == "in_progress"
    cancelled = (await client.post(f"{path}/{batch['id']}/cancel")).json()
    assert (cancelled["status"], cancelled["file_counts"]["cancelled"]) == ("cancelled", 2)
    assert (await client.delete(f"/v1/vector_stores/{store}")).json()["deleted"]


async def test_a_store_that_has_expired_says_so(stack: Stack, client: httpx.AsyncClient) -> None:
    expiry = {"anchor": "last_active_at", "days": 1}
    store = (await client.post("/v1/vector_stores", json={"expires_after": expiry})).json()["id"]
    with sqlite3.connect(stack.data / "files" / "catalog.sqlite", timeout=20) as catalog:
        catalog.execute("UPDATE stores SET last_active_at = last_active_at - 100000 WHERE id = ?", (store,))
    catalog.close()
    path = f"/v1/vector_stores/{store}"
    assert (await client.get(path)).json()["status"] == "expired"
    is_error(await client.post(f"{path}/search", json={"query": "x"}), 400, "vector_store_expired", "vector_store_id")
    assert (await client.delete(path)).json()["deleted"]
