"""A file that is ingested while things fail, then searched: each of its parts is found, and found once."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import Any

from tests.campaigns.answers import Answer, Misfit, Verdict, check_text
from tests.campaigns.connection import Connection
from tests.campaigns.kinds.tools import check_counts
from tests.campaigns.sessions import Sessions
from tests.support.fake_upstream import calls

_LOOK_SECONDS = 0.3
# Two pages: some chunks, so that a worker dies between two of them now and then.
PARTS = 10
_FILLER = "The rest of this part has no meaning and is here so that the file has some length. " * 6
_RESULTS = ["file_search_call.results"]
# More than the chunks of the file.
_MOST_RESULTS = 30


async def file_search(sessions: Sessions, connection: Connection) -> None:
    """Upload, vector store, ingestion, search, and often the deletion of all that."""
    answer = sessions.ask("file search", include=_RESULTS)
    is_deleted, as_batch = sessions.draw.random() < 0.5, sessions.draw.random() < 0.5
    text = "".join(f"Part {number} of {answer.tag} is about the number {number}. {_FILLER}" for number in range(PARTS))

    async def asking() -> None:
        file_id = await _upload(connection, answer, text)
        store_id = await _ingested(connection, answer, file_id, as_batch=as_batch)
        await _check_store(connection, store_id, file_id, text)
        answer.body["tools"] = [
            {"type": "file_search", "vector_store_ids": [store_id], "max_num_results": _MOST_RESULTS}
        ]
        query = f"the number of {answer.tag}"
        sessions.upstream.says(answer.prompt, calls(("f", "file_search", {"queries": [query]}), turns=[answer.script]))
        answer.check = partial(check_search, answer, file_id)
        answer.start_clock()
        answer.waits_for = ""
        await connection.stream(answer)
        if is_deleted:
            answer.waits_for = "its deletions"
            await _delete(connection, f"/v1/vector_stores/{store_id}")
            await _delete(connection, f"/v1/files/{file_id}")

    await sessions.settled(connection, [answer], asking())


async def _upload(connection: Connection, answer: Answer, text: str) -> str:
    answer.waits_for = "its upload"
    form: dict[str, Any] = {"data": {"purpose": "assistants"}, "files": {"file": ("parts.txt", text.encode())}}
    file = await connection.request("POST", "/v1/files", **form)
    content = await connection.fetch("GET", f"/v1/files/{file['id']}/content")
    if content.content != text.encode():
        raise Misfit(Verdict.WRONG, f"of {len(text)} bytes that were uploaded, {len(content.content)} are there")
    return str(file["id"])


async def _ingested(connection: Connection, answer: Answer, file_id: str, *, as_batch: bool) -> str:
    """Returns the vector store. A request that is repeated may leave another one, which nobody looks at."""
    answer.waits_for = "the ingestion of its file"
    store = await connection.request("POST", "/v1/vector_stores", json={"file_ids": [file_id]} if as_batch else {})
    path = f"/v1/vector_stores/{store['id']}/files"
    if not as_batch:
        await connection.request("POST", path, json={"file_id": file_id})
    while (file := await connection.request("GET", f"{path}/{file_id}"))["status"] == "in_progress":
        await asyncio.sleep(_LOOK_SECONDS)
    if file["status"] != "completed":
        raise Misfit(Verdict.LOST, f"the ingestion ended as {file['status']}: {file['last_error']}")
    return str(store["id"])


async def _check_store(connection: Connection, store_id: str, file_id: str, text: str) -> None:
    store = await connection.request("GET", f"/v1/vector_stores/{store_id}")
    if (store["status"], store["file_counts"]["completed"], store["file_counts"]["total"]) != ("completed", 1, 1):
        raise Misfit(Verdict.WRONG, f"the store of one file is {store['status']} with {store['file_counts']}")
    content = await connection.request("GET", f"/v1/vector_stores/{store_id}/files/{file_id}/content")
    found = "".join(part["text"] for part in content["data"])
    if found != text:
        verdict = Verdict.DOUBLED if len(found) > len(text) else Verdict.LOST
        raise Misfit(verdict, f"of a text of {len(text)} characters, {len(found)} were ingested")


def check_search(answer: Answer, file_id: str, response: dict[str, Any]) -> None:
    check_text(answer, response)
    searches = [item for item in response["output"] if item["type"] == "file_search_call"]
    if [item["status"] for item in searches] != ["completed"]:
        raise Misfit(Verdict.LOST, f"the searches ended as {[item['status'] for item in searches]}")
    results = searches[0]["results"]
    if foreign := {result["file_id"] for result in results} - {file_id}:
        raise Misfit(Verdict.WRONG, f"a search found chunks of {foreign}")
    chunks = Counter(result["text"] for result in results)
    check_counts(chunks, Counter(dict.fromkeys(chunks, 1)))
    found = {number for number in range(PARTS) if any(f"Part {number} of {answer.tag}" in text for text in chunks)}
    if missing := set(range(PARTS)) - found:
        raise Misfit(Verdict.LOST, f"a search for all parts did not find {sorted(missing)}")


async def _delete(connection: Connection, path: str) -> None:
    """Delete it; a repeated request finds nothing. Raises Misfit if it is there afterwards."""
    await connection.fetch("DELETE", path, accepts=lambda answer: answer.status_code in (200, 404))
    left = await connection.fetch("GET", path, accepts=lambda answer: answer.status_code in (200, 404))
    if left.status_code == 200:
        raise Misfit(Verdict.WRONG, f"{path} was deleted, and is there")
