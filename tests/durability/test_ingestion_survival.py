"""An ingestion survives its workers: killed in the middle, it goes on, and each chunk is there once."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from open_responses.io.files.chunk_index import ChunkIndex
from tests.support.fake_upstream import Upstream
from tests.support.small_stack import small_stack
from tests.support.stack import http_client

pytestmark = pytest.mark.campaign


async def test_a_killed_worker_costs_an_ingestion_nothing_but_time(tmp_path: Path, upstream: Upstream) -> None:
    async with small_stack(tmp_path, upstream) as stack, http_client(stack.api_url) as client:
        text = "".join(f"Sentence {number} of the long file says that {number} is a number. " for number in range(3000))
        form = {"data": {"purpose": "user_data"}, "files": {"file": ("long.txt", text.encode())}}
        file = (await client.post("/v1/files", **form)).json()["id"]  # type: ignore[arg-type]
        store = (await client.post("/v1/vector_stores")).json()["id"]
        path = f"/v1/vector_stores/{store}/files"
        await client.post(path, json={"file_id": file})
        deadline = time.monotonic() + 240

        async def shown() -> dict[str, object]:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
            found: dict[str, object] = (await client.get(f"{path}/{file}")).json()
            return found

        while not (await shown())["usage_bytes"]:
            pass
        # Both: whichever runs it.
        for name in ("worker-0", "worker-1"):
            await stack.kill(name)
        index = ChunkIndex(stack.data / "files" / "indexes" / f"{store}.sqlite")
        half = index.progress(file)
        assert 0 < half.done < half.total
        await stack.flush()
        for name in ("worker-0", "worker-1"):
            await stack.start(name)
        while (found := await shown())["status"] == "in_progress":
            pass
        assert found["status"] == "completed", found
        whole = index.progress(file)
        assert (whole.done, whole.total) == (half.total, half.total)
        assert "".join(index.texts(file)) == text
        hits = (await client.post(f"/v1/vector_stores/{store}/search", json={"query": "Sentence 2999"})).json()["data"]
        assert "Sentence 2999 " in hits[0]["content"][0]["text"]
