"""Wherever an id of a file or a vector store is taken, another tenant's is as unknown as one that nobody has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from open_responses.ids import new_id
from tests.support.api_with_keys import api_of_the_module, bearer, key_block
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.scripts import script
from tests.support.stack import until
from tests.support.websocket_client import connected

pytestmark = pytest.mark.campaign

OWNER, STRANGER = bearer("files-owner"), bearer("files-stranger")
SECRET = "The owner alone may read this line."
Json = dict[str, Any]

api = api_of_the_module(key_block("files-owner", "files-owner"), key_block("files-stranger", "files-stranger"))


@dataclass(frozen=True)
class There:
    """What the owner has, and what the stranger has of its own."""

    file: str
    image: str
    store: str
    container: str
    own_file: str
    own_store: str
    own_conversation: str
    own_running: str


async def upload(api: httpx.AsyncClient, headers: dict[str, str], name: str, data: bytes) -> str:
    form: Any = {"data": {"purpose": "user_data"}, "files": {"file": (name, data)}}
    found: str = (await api.post("/v1/files", headers=headers, **form)).json()["id"]
    return found


async def made(api: httpx.AsyncClient, path: str, headers: dict[str, str], **body: Any) -> str:
    answer = await api.post(path, headers=headers, json=body)
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["id"]
    return found


@pytest_asyncio.fixture(scope="module")
async def there(api: httpx.AsyncClient, upstream: Upstream) -> AsyncIterator[There]:
    held = upstream.says("goes on for long", Script(words=3, hold_after=1))
    file = await upload(api, OWNER, "a.txt", SECRET.encode())
    image = await upload(api, OWNER, "a.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 50)
    store = await made(api, "/v1/vector_stores", OWNER, file_ids=[file])

    async def is_ready() -> bool:
        found = (await api.get(f"/v1/vector_stores/{store}", headers=OWNER)).json()
        return found["status"] == "completed" and found["file_counts"]["completed"] == 1

    await until(is_ready, 120)
    script(
        upstream, "begin a container", calls(("c", "code_interpreter", {"code": f"x = {SECRET!r}"})), Script(words=1)
    )
    begins = {
        "model": "fake",
        "input": "begin a container",
        "tools": [{"type": "code_interpreter", "container": _AUTO}],
    }
    began = (await api.post("/v1/responses", headers=OWNER, json=begins)).json()
    yield There(
        container=began["output"][0]["container_id"],
        file=file,
        image=image,
        store=store,
        own_file=await upload(api, STRANGER, "b.txt", b"The stranger's."),
        own_store=await made(api, "/v1/vector_stores", STRANGER),
        own_conversation=await made(api, "/v1/conversations", STRANGER),
        own_running=await made(api, "/v1/responses", STRANGER, model="fake", input="goes on for long", background=True),
    )
    held.released.set()


_AUTO = {"type": "auto"}


def asks(*parts: Json) -> Json:
    return {"model": "fake", "input": [{"role": "user", "content": [*parts, {"type": "input_text", "text": "Read."}]}]}


def file_part(id: str) -> Json:
    return {"type": "input_file", "file_id": id}


def searches(id: str) -> Json:
    return {"model": "fake", "input": "x", "tools": [{"type": "file_search", "vector_store_ids": [id]}]}


def computes(id: str) -> Json:
    container = {"type": "auto", "file_ids": [id]}
    return {"model": "fake", "input": "x", "tools": [{"type": "code_interpreter", "container": container}]}


def scheduled(request: Json) -> Json:
    return {"cron": "@daily", "request": request}


def _output(id: str) -> Json:
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    return {
        "model": "fake",
        "input": [call, {"type": "function_call_output", "call_id": "c", "output": [file_part(id)]}],
    }


Place = tuple[str, Callable[[There], str], Callable[[There, str], Json], str]
FILE_PLACES: list[Place] = [
    ("POST", lambda _: "/v1/responses", lambda _, id: asks(file_part(id)), "input[0].content[0].file_id"),
    ("POST", lambda _: "/v1/responses", lambda _, id: _output(id), "input[1].output[0].file_id"),
    ("POST", lambda _: "/v1/responses", lambda _, id: computes(id), "tools[0].container.file_ids"),
    ("POST", lambda _: "/v1/responses/compact", lambda _, id: asks(file_part(id)), "input[0].content[0].file_id"),
    (
        "POST",
        lambda there: f"/v1/responses/{there.own_running}/steer",
        lambda _, id: {"input": asks(file_part(id))["input"]},
        "input[0].content[0].file_id",
    ),
    (
        "POST",
        lambda _: "/v1/conversations",
        lambda _, id: {"items": asks(file_part(id))["input"]},
        "items[0].content[0].file_id",
    ),
    (
        "POST",
        lambda there: f"/v1/conversations/{there.own_conversation}/items",
        lambda _, id: {"items": asks(file_part(id))["input"]},
        "items[0].content[0].file_id",
    ),
    (
        "POST",
        lambda _: "/v1/schedules",
        lambda _, id: scheduled(asks(file_part(id))),
        "request.input[0].content[0].file_id",
    ),
    (
        "POST",
        lambda _: "/v1/schedules",
        lambda _, id: scheduled(computes(id)),
        "request.tools[0].container.file_ids",
    ),
    ("POST", lambda _: "/v1/vector_stores", lambda _, id: {"file_ids": [id]}, "file_ids[0]"),
    ("POST", lambda there: f"/v1/vector_stores/{there.own_store}/files", lambda _, id: {"file_id": id}, "file_id"),
    (
        "POST",
        lambda there: f"/v1/vector_stores/{there.own_store}/file_batches",
        lambda there, id: {"file_ids": [there.own_file, id]},
        "file_ids[1]",
    ),
    (
        "POST",
        lambda there: f"/v1/vector_stores/{there.own_store}/file_batches",
        lambda _, id: {"files": [{"file_id": id}]},
        "files[0].file_id",
    ),
]
STORE_PLACES: list[Place] = [
    ("POST", lambda _: "/v1/responses", lambda _, id: searches(id), "tools[0].vector_store_ids[0]"),
    (
        "POST",
        lambda _: "/v1/schedules",
        lambda _, id: scheduled(searches(id)),
        "request.tools[0].vector_store_ids[0]",
    ),
]


async def both_unknown(
    api: httpx.AsyncClient, there: There, place: Place, foreign: str, unknown: str
) -> httpx.Response:
    """The answer for another tenant's id, after the comparison with that for an id of nothing."""
    method, path, body, _ = place
    seen: list[httpx.Response] = []
    for id in (foreign, unknown):
        seen.append(await api.request(method, path(there), json=body(there, id), headers=STRANGER))
    shown = [
        (answer.status_code, answer.text.replace(id, "<id>"))
        for answer, id in zip(seen, (foreign, unknown), strict=True)
    ]
    assert shown[0] == shown[1]
    assert SECRET not in seen[0].text
    return seen[0]


@pytest.mark.parametrize("place", FILE_PLACES, ids=range(len(FILE_PLACES)))
async def test_a_file_of_another_tenant_is_unknown_wherever_it_is_named(
    api: httpx.AsyncClient, there: There, place: Place
) -> None:
    answer = await both_unknown(api, there, place, there.file, new_id("file-"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), answer.text
    assert answer.json()["error"]["param"] == place[-1]


async def test_an_image_of_another_tenant_is_unknown(api: httpx.AsyncClient, there: There) -> None:
    place: Place = (
        "POST",
        lambda _: "/v1/responses",
        lambda _, id: asks({"type": "input_image", "file_id": id}),
        "input[0].content[0].file_id",
    )
    answer = await both_unknown(api, there, place, there.image, new_id("file-"))
    assert (answer.status_code, answer.json()["error"]["param"]) == (404, place[-1])


@pytest.mark.parametrize("place", STORE_PLACES, ids=range(len(STORE_PLACES)))
async def test_a_vector_store_of_another_tenant_is_unknown_wherever_it_is_named(
    api: httpx.AsyncClient, there: There, place: Place
) -> None:
    answer = await both_unknown(api, there, place, there.store, new_id("vs_"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), answer.text
    assert answer.json()["error"]["param"] == place[-1]


async def test_a_container_of_another_tenant_is_unknown(api: httpx.AsyncClient, there: There) -> None:
    for path, wrap, param in (
        ("/v1/responses", lambda body: body, "tools[0].container"),
        ("/v1/schedules", scheduled, "request.tools[0].container"),
    ):

        def named(_: There, id: str, wrap: Callable[[Json], Json] = wrap) -> Json:
            return wrap({"model": "fake", "input": "x", "tools": [{"type": "code_interpreter", "container": id}]})

        place: Place = ("POST", lambda _, path=path: path, named, param)
        answer = await both_unknown(api, there, place, there.container, new_id("cntr_"))
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text


async def test_a_socket_knows_no_foreign_ids_either(api: httpx.AsyncClient, there: There) -> None:
    async with connected(str(api.base_url).rstrip("/"), STRANGER) as socket:
        for body, param in (
            (searches(there.store), "tools[0].vector_store_ids[0]"),
            (asks(file_part(there.file)), "input[0].content[0].file_id"),
            (computes(there.file), "tools[0].container.file_ids"),
        ):
            await socket.ask(**body)
            await socket.is_refused(404, "not_found", param)


async def test_a_list_has_no_foreign_cursor(api: httpx.AsyncClient, there: There) -> None:
    for path, foreign, prefix in (
        ("/v1/files", there.file, "file-"),
        ("/v1/vector_stores", there.store, "vs_"),
        (f"/v1/vector_stores/{there.own_store}/files", there.file, "file-"),
    ):
        seen = [await api.get(path, params={"after": id}, headers=STRANGER) for id in (foreign, new_id(prefix))]
        assert [answer.status_code for answer in seen] == [404, 404]


async def test_the_owner_still_has_it_all(api: httpx.AsyncClient, there: There) -> None:
    """Last: a stranger's tries have changed nothing."""
    found = await api.post(f"/v1/vector_stores/{there.store}/search", headers=OWNER, json={"query": "who may read"})
    assert SECRET in found.text
    counts = (await api.get(f"/v1/vector_stores/{there.own_store}", headers=STRANGER)).json()["file_counts"]
    assert counts["total"] == 0
    assert (await api.get("/v1/schedules", headers=STRANGER)).json()["data"] == []
    items = await api.get(f"/v1/conversations/{there.own_conversation}/items", headers=STRANGER)
    assert items.json()["data"] == []
