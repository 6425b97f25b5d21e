"""`/v1/containers` with OpenAI's shapes, by its SDK: containers of one's own, and the files in them."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import IO, Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from api.containers import access, files
from open_responses.config_tables.interpreter import CodeInterpreterConfig
from open_responses.errors import InvalidRequest
from open_responses.ids import new_id
from open_responses.io.store.containers import container_of
from open_responses.tool_use.container_files import ContainerFile, ContainerState
from tests.support.code_calls import containers_in
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.responses_http import create, is_error
from tests.support.scripts import script
from tests.support.stack import Stack

CONTAINERS = "/v1/containers"


async def test_the_openai_sdk_unchanged_brings_files_in_and_takes_them_out(stack: Stack, upstream: Upstream) -> None:
    sdk = AsyncOpenAI(base_url=stack.api_url + "/v1", api_key="none", max_retries=0)
    given = await sdk.files.create(file=("rates.csv", b"a,1\n"), purpose="user_data")
    container = await sdk.containers.create(
        name="mine", file_ids=[given.id], expires_after={"anchor": "last_active_at", "minutes": 20}
    )
    assert container.expires_after is not None
    assert (container.object, container.name, container.status) == ("container", "mine", "running")
    assert container.expires_after.minutes == 20
    sent = await sdk.containers.files.create(container.id, file=("sales.csv", b"b,2\n"))
    assert (sent.object, sent.path, sent.source, sent.bytes) == ("container.file", "/mnt/data/sales.csv", "user", 4)
    code = "both = open('rates.csv').read() + open('sales.csv').read()\nopen('both.csv', 'w').write(both)"
    script(upstream, "join them", calls(("a", "code_interpreter", {"code": code})), Script(literal="【1:1】"))
    response = await sdk.responses.create(
        model="fake", input="join them", tools=[{"type": "code_interpreter", "container": container.id}]
    )
    message = response.output[-1]
    assert message.type == "message"
    assert message.content[0].type == "output_text"
    (cited,) = message.content[0].annotations
    assert cited.type == "container_file_citation"
    assert (cited.container_id, cited.filename) == (container.id, "both.csv")
    content = await sdk.containers.files.content.retrieve(cited.file_id, container_id=container.id)
    assert content.read() == b"a,1\nb,2\n"
    listed = {file.path: file.source async for file in sdk.containers.files.list(container.id, limit=2)}
    assert listed == {
        "/mnt/data/rates.csv": "user",
        "/mnt/data/sales.csv": "user",
        "/mnt/data/both.csv": "assistant",
    }
    assert (await sdk.containers.files.retrieve(cited.file_id, container_id=container.id)).bytes == 8
    await sdk.containers.files.delete(cited.file_id, container_id=container.id)
    with pytest.raises(openai.NotFoundError):
        await sdk.containers.files.content.retrieve(cited.file_id, container_id=container.id)
    assert (await sdk.containers.retrieve(container.id)).id == container.id
    assert container.id in [one.id async for one in sdk.containers.list(limit=50)]
    assert container.id in [one.id async for one in sdk.containers.list(name="mine", limit=1)]
    await sdk.containers.delete(container.id)
    with pytest.raises(openai.NotFoundError):
        await sdk.containers.retrieve(container.id)


async def test_a_container_that_a_response_began_is_listed_and_a_chain_goes_on_after_its_deletion(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    tool = {"type": "code_interpreter", "container": {"type": "auto"}}
    code = "open('a', 'w').write('1')"
    script(upstream, "begin one", calls(("a", "code_interpreter", {"code": code})), Script(words=1))
    first = await create(client, model="fake", input="begin one", tools=[tool])
    container = first["output"][0]["container_id"]
    listed = (await client.get(CONTAINERS, params={"limit": 100})).json()["data"]
    assert container in [one["id"] for one in listed]
    deleted = (await client.delete(f"{CONTAINERS}/{container}")).json()
    assert deleted == {"id": container, "object": "container.deleted", "deleted": True}
    is_error(await client.get(f"{CONTAINERS}/{container}/files"), 404, "not_found", "container_id")
    script(upstream, "go on", calls(("b", "code_interpreter", {"code": "import os\nos.listdir()"})), Script(words=1))
    asked = {"input": "go on", "tools": [tool], "previous_response_id": first["id"]}
    second = await create(client, model="fake", include=["code_interpreter_call.outputs"], **asked)
    (logs,) = second["output"][0]["outputs"]
    assert logs["logs"] == "[Variables and functions of earlier calls are gone.]\n[]\n"


async def test_downloads_open_one_file_at_a_time_and_arrive_whole(
    client: httpx.AsyncClient,
) -> None:
    container = (await client.post(CONTAINERS, json={"name": "large"})).json()["id"]
    data = os.urandom(900_000)
    sent = (await client.post(f"{CONTAINERS}/{container}/files", files={"file": ("a", data)})).json()
    path = f"{CONTAINERS}/{container}/files/{sent['id']}/content"
    async with client.stream("GET", path) as dropped:
        assert dropped.headers["content-length"] == str(len(data))
    answers = await asyncio.gather(*(client.get(path) for _ in range(16)))
    assert all(answer.content == data for answer in answers)


async def test_no_more_than_one_download_has_its_file_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    open_now = most = 0

    class Counted:
        def copy_content(self, tenant: str, container_id: str, name: str, target: IO[bytes]) -> None:
            nonlocal open_now, most
            open_now += 1
            most = max(most, open_now)
            # Time for others to come in, if nothing keeps them out.
            time.sleep(0.005)
            target.write(b"x")
            open_now -= 1

    async def owned(*_: object) -> ContainerState:
        return ContainerState(version=1, files=(ContainerFile("cfile_1", "a", 1, 0, "user", content="content-1"),))

    monkeypatch.setattr(files, "containers_of", lambda _: Counted())
    monkeypatch.setattr(files, "owned_container", owned)
    state: Any = None
    await asyncio.gather(*(files.get_container_file_content("cntr_1", "cfile_1", state, "acme") for _ in range(16)))
    assert most == 1


async def test_an_upload_for_which_the_tenant_has_no_room_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    containers = containers_in(tmp_path)
    containers.create("acme", name="", idle_minutes=None, files=(), most=1)
    monkeypatch.setattr(access, "containers_of", lambda _: containers)
    monkeypatch.setattr(access, "table_of", lambda _: CodeInterpreterConfig(max_tenant_mb=1))
    state: Any = None
    await access.take_room(state, "acme", 2**20 - 4096)
    await access.take_room(state, "other", 2**20)
    with pytest.raises(InvalidRequest) as refused:
        await access.take_room(state, "acme", 2**20)
    assert (refused.value.error_code, refused.value.param) == ("file_quota_exceeded", "file")


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_required_parameter", "name"),
        ({"name": ""}, "invalid_value", "name"),
        ({"name": "x" * 257}, "invalid_value", "name"),
        ({"name": "x", "file_ids": ["file-none"]}, "not_found", "file_ids[0]"),
        ({"name": "x", "file_ids": ["f"] * 51}, "invalid_value", "file_ids"),
        ({"name": "x", "memory_limit": "9g"}, "invalid_value", "memory_limit"),
        ({"name": "x", "expires_after": {"anchor": "last_active_at", "minutes": 0}}, "invalid_value", None),
        ({"name": "x", "network_policy": {"type": "allowlist", "allowed_domains": ["a.b"]}}, None, None),
        ({"name": "x", "skills": []}, "unknown_parameter", "skills"),
    ],
)
async def test_a_container_that_cannot_be_made_is_an_error(
    client: httpx.AsyncClient, body: Any, code: str | None, param: str | None
) -> None:
    answer = await client.post(CONTAINERS, json=body)
    assert answer.status_code == (404 if code == "not_found" else 400), answer.text
    error = answer.json()["error"]
    assert code is None or error["code"] == code, error
    assert param is None or error["param"] == param, error


async def test_files_that_a_container_cannot_have_are_errors(client: httpx.AsyncClient) -> None:
    container = (await client.post(CONTAINERS, json={"name": "full"})).json()["id"]
    folder = f"{CONTAINERS}/{container}/files"
    large = {"file": ("large.bin", b"x" * (2**20 + 1))}
    assert (await client.post(folder, files=large)).status_code == 413
    half = {"file": ("../half.bin", b"x" * 600_000)}
    first = (await client.post(folder, files=half)).json()
    assert first["path"] == "/mnt/data/half.bin"
    is_error(await client.post(folder, files=half), 400, "file_quota_exceeded", "file")
    small = (await client.post(folder, files={"file": ("half.bin", b"x")})).json()
    assert small["path"] == "/mnt/data/half-2.bin"
    is_error(await client.post(folder, json={"file_id": "file-none"}), 404, "not_found", "file_id")
    is_error(await client.post(folder, json={}), 400, "missing_required_parameter", "file_id")
    is_error(await client.post(folder, data={"other": "x"}, files=half), 400, "unknown_parameter", "other")
    named = (await client.post("/v1/files", files={"file": ("a", b"1")}, data={"purpose": "user_data"})).json()["id"]
    added = (await client.post(folder, json={"file_id": named})).json()
    assert (await client.get(f"{folder}/{added['id']}/content")).content == b"1"
    await client.delete(f"/v1/files/{named}")
    is_error(await client.get(f"{folder}/{added['id']}/content"), 404, "not_found", "file_id")
    is_error(await client.get(f"{folder}?after=cfile_none"), 404, "not_found", "after")
    is_error(await client.get(f"{CONTAINERS}?after={container_of(new_id('resp_'))}"), 404, "not_found", "after")
    for unknown in ("cntr_none", container_of(new_id("resp_"))):
        is_error(await client.get(f"{CONTAINERS}/{unknown}"), 404, "not_found", "container_id")
        is_error(await client.delete(f"{CONTAINERS}/{unknown}"), 404, "not_found", "container_id")
        is_error(await client.post(f"{CONTAINERS}/{unknown}/files", files=half), 404, "not_found", "container_id")
