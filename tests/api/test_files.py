"""`/v1/files`, from the openai SDK and from clients that are less well-behaved."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import time
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from open_responses.ids import new_id
from tests.support.fake_upstream import Script, Upstream
from tests.support.responses_http import is_error
from tests.support.stack import Stack, until

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PDF = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\nnot really\n%%EOF\n"


def sdk(stack: Stack) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{stack.api_url}/v1", api_key="none", max_retries=0)


async def upload(client: httpx.AsyncClient, data: bytes, name: str = "a.txt", purpose: str = "user_data") -> str:
    answer = await client.post("/v1/files", data={"purpose": purpose}, files={"file": (name, data)})
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["id"]
    return found


async def test_the_openai_sdk_uploads_lists_reads_and_deletes(stack: Stack) -> None:
    client = sdk(stack)
    content = os.urandom(150_000)
    made = await client.files.create(
        file=("report.bin", content),
        purpose="assistants",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert (made.filename, made.bytes, made.purpose, made.status) == (
        "report.bin",
        len(content),
        "assistants",
        "processed",
    )
    assert made.expires_at == made.created_at + 3600
    assert await client.files.retrieve(made.id) == made
    assert (await client.files.content(made.id)).content == content
    other = await client.files.create(file=("b.txt", b"b"), purpose="user_data")
    newest = [file.id async for file in await client.files.list(limit=1)][:2]
    assert newest == [other.id, made.id]
    assert other.id not in [file.id async for file in await client.files.list(purpose="assistants")]
    deleted = await client.files.delete(made.id)
    assert (deleted.id, deleted.deleted, deleted.object) == (made.id, True, "file")
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError):
            await call(made.id)
    await client.files.delete(other.id)


async def test_a_file_outlives_a_flush_of_redis(stack: Stack, client: httpx.AsyncClient) -> None:
    file_id = await upload(client, b"durable")
    await stack.flush()
    assert (await client.get(f"/v1/files/{file_id}/content")).content == b"durable"


@pytest.mark.parametrize(
    ("data", "files", "param", "code"),
    [
        ({}, {"file": ("a", b"a")}, "purpose", "missing_required_parameter"),
        ({"purpose": "fine-tune"}, {"file": ("a", b"a")}, "purpose", "invalid_value"),
        ({"purpose": "user_data"}, {"other": ("a", b"a")}, "file", "missing_required_parameter"),
        ({"purpose": "user_data"}, {"file": ("a", b"")}, "file", "invalid_value"),
        ({"purpose": "vision"}, {"file": ("a.png", b"text")}, "file", "unsupported_content"),
        ({"purpose": "user_data", "porpoise": "x"}, {"file": ("a", b"a")}, "porpoise", "unknown_parameter"),
        ({"purpose": ["user_data", "vision"]}, {"file": ("a", b"a")}, "purpose", "invalid_value"),
        ({"purpose": "x" * 5000}, {"file": ("a", b"a")}, "purpose", "invalid_value"),
        (
            {"purpose": "user_data", "expires_after[seconds]": "3600"},
            {"file": ("a", b"a")},
            "expires_after.anchor",
            "invalid_value",
        ),
        (
            {"purpose": "user_data", "expires_after[anchor]": "created_at", "expires_after[seconds]": "60"},
            {"file": ("a", b"a")},
            "expires_after.seconds",
            "invalid_value",
        ),
    ],
)
async def test_a_bad_form_is_a_400_that_names_the_field(
    client: httpx.AsyncClient, data: Any, files: Any, param: str, code: str
) -> None:
    is_error(await client.post("/v1/files", data=data, files=files), 400, code, param)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b"--x"),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"\xff" * 500),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=file\r\n\r\na\r\n--x--\r\n"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nthe end is missing',
        ),
        ("multipart/form-data; boundary=x", b"--x\r\nA: " + b"a" * 100_000),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--\r\n"),
    ],
)
async def test_a_body_that_is_no_form_is_a_400(client: httpx.AsyncClient, kind: str, body: bytes) -> None:
    answer = await client.post("/v1/files", content=body, headers={"content-type": kind})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request"


async def test_a_file_that_is_too_large_is_a_413_as_soon_as_that_is_known(stack: Stack) -> None:
    async with httpx.AsyncClient(base_url=stack.api_url, timeout=30, trust_env=False) as client:
        files = {"file": ("a", b"a" * 500_000)}
        answer = await client.post("/v1/files", data={"purpose": "user_data"}, files=files)
        is_error(answer, 413, "request_too_large", "file")
    # Without a declared length, by the bytes that have arrived, and before the client has sent the rest.
    host, port = stack.api_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/files HTTP/1.1\r\nHost: {host}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"a" * 450_000
    writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n{len(part):x}\r\n".encode() + part + b"\r\n")
    assert b" 413 " in await asyncio.wait_for(reader.readline(), 60)
    writer.close()
    await nothing_is_left(stack)


_PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc'
_END = b'\r\n--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n--x--\r\n'


@pytest.mark.parametrize(
    ("length", "body", "status"),
    [
        ("Content-Length: 10000000000", _PART, 413),
        (f"Content-Length: {'9' * 5000}", _PART, 400),
        (f"Content-Length: {len(_PART)}", _PART + _END, 400),
        ("Content-Length: -1", _PART, 400),
        ("Content-Length: many", _PART, 400),
        ("Content-Length: 3\r\nContent-Length: 500000", _PART, 400),
        ("Content-Length: 500\r\nTransfer-Encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n", 400),
        ("X-Nothing: 1", _PART, 400),
        ("Transfer-Encoding: chunked", b"0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked", b"nonsense\r\n", 400),
    ],
    ids=[
        "huge",
        "of 5000 digits",
        "too short",
        "negative",
        "no number",
        "two",
        "and chunks",
        "none",
        "empty",
        "odd chunk",
    ],
)
async def test_a_length_that_lies_or_is_missing_is_an_error_at_once(
    stack: Stack, length: str, body: bytes, status: int
) -> None:
    host, port = stack.api_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"POST /v1/files HTTP/1.1\r\nHost: {host}\r\nContent-Type: multipart/form-data; boundary=x\r\n{length}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    assert f" {status} ".encode() in await asyncio.wait_for(reader.readline(), 60)
    writer.close()
    await nothing_is_left(stack)


async def test_a_client_that_leaves_in_an_upload_leaves_nothing(stack: Stack) -> None:
    host, port = stack.api_url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/files HTTP/1.1\r\nHost: {host}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    part = '--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf'
    writer.write(f"{head}Content-Length: 10000\r\n\r\n{part}".encode())
    await writer.drain()
    folder = stack.data / "files" / "incoming"
    deadline = time.monotonic() + 60
    while not (folder.is_dir() and list(folder.iterdir())):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    writer.close()
    await nothing_is_left(stack)


async def nothing_is_left(stack: Stack) -> None:
    folder = stack.data / "files" / "incoming"
    deadline = time.monotonic() + 60
    while list(folder.iterdir()):
        assert time.monotonic() < deadline, "an upload that failed is still on disk"
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("name", ["../../etc/passwd", "..\\..\\passwd", "a/../passwd", "/passwd"])
async def test_a_name_with_folders_is_a_name_and_never_a_path(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.post("/v1/files", data={"purpose": "user_data"}, files={"file": (name, b"x")})
    assert answer.json()["filename"] == "passwd"
    content = await client.get(f"/v1/files/{answer.json()['id']}/content")
    assert content.headers["content-disposition"].startswith("attachment")
    assert content.headers["content-type"] == "application/octet-stream"
    assert content.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("file_id", ["x", "file-", "file-..%2f..%2fetc", "%00", "file-" + "0" * 48])
async def test_an_id_of_nothing_is_a_404(client: httpx.AsyncClient, file_id: str) -> None:
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        answer = await client.request(method, f"/v1/files/{file_id}{path}")
        is_error(answer, 404, "not_found")


async def test_a_list_checks_what_it_is_asked(client: httpx.AsyncClient) -> None:
    is_error(await client.get("/v1/files?limit=0"), 400, "invalid_value", "limit")
    is_error(await client.get("/v1/files?limit=10001"), 400, "invalid_value", "limit")
    is_error(await client.get("/v1/files?order=up"), 400, "invalid_value", "order")
    is_error(await client.get("/v1/files?porpoise=x"), 400, "unknown_parameter", "porpoise")
    is_error(await client.get(f"/v1/files?after={new_id('file-')}"), 404, "not_found", "after")


# --- what a model reads of them


async def test_a_model_reads_images_and_files_by_their_ids(client: httpx.AsyncClient, upstream: Upstream) -> None:
    prompt = f"look {secrets.token_hex(4)}"
    seen = upstream.says(prompt, Script(words=2))
    image = await upload(client, PNG, "dot.bin", "vision")
    document = await upload(client, PDF, "paper.pdf")
    content = [
        {"type": "input_image", "file_id": image},
        {"type": "input_file", "file_id": document},
        {"type": "input_text", "text": prompt},
    ]
    answer = await client.post("/v1/responses", json={"model": "fake", "input": [{"role": "user", "content": content}]})
    assert answer.json()["status"] == "completed", answer.text
    sent = seen.messages[-1]["content"]
    assert sent[0]["image_url"]["url"] == "data:image/png;base64," + base64.b64encode(PNG).decode()
    assert sent[1]["file"]["file_data"].endswith(base64.b64encode(PDF).decode())
    assert sent[1]["file"]["filename"] == "paper.pdf"
    listed = (await client.get(f"/v1/responses/{answer.json()['id']}/input_items")).json()["data"][0]
    assert listed["content"][0]["file_id"] == image, "the stored input has the id, and not the bytes"
    # A chain goes on after the file was deleted.
    await client.delete(f"/v1/files/{document}")
    again = upstream.says("again", Script(words=1))
    body = {"model": "fake", "input": "again", "previous_response_id": answer.json()["id"]}
    assert (await client.post("/v1/responses", json=body)).json()["status"] == "completed"
    texts = str([message["content"] for message in again.messages])
    assert "was deleted" in texts
    assert base64.b64encode(PNG).decode() in texts


async def test_what_a_model_cannot_read_is_a_400_before_anything_starts(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    text = await upload(client, b"no image")
    large = [await upload(client, PNG + b"x" * 200_000, "a.png") for _ in range(2)]
    prompt = f"never asked {secrets.token_hex(4)}"

    async def ask(*parts: dict[str, Any], model: str = "fake") -> httpx.Response:
        content = [*parts, {"type": "input_text", "text": prompt}]
        return await client.post(
            "/v1/responses", json={"model": model, "input": [{"role": "user", "content": content}]}
        )

    at = "input[0].content[0]"
    is_error(await ask({"type": "input_image", "file_id": text}), 400, "unsupported_content", at)
    is_error(await ask({"type": "input_file", "file_id": new_id("file-")}), 404, "not_found", f"{at}.file_id")
    both = [{"type": "input_image", "file_id": one} for one in large]
    is_error(await ask(*both), 400, "context_too_large", "input[0].content[1].file_id")
    assert prompt not in upstream.scripts


async def test_a_message_to_a_running_response_names_files_as_well(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    draft = upstream.says("steered with a picture", Script(words=2, hold_end=True))
    answer = upstream.says("look at it", Script(words=1))
    image = await upload(client, PNG, "dot.png")
    body = {"model": "fake", "input": "steered with a picture", "background": True}
    response = (await client.post("/v1/responses", json=body)).json()
    await asyncio.wait_for(draft.held.wait(), 50)

    def message(file_id: str) -> dict[str, Any]:
        content = [{"type": "input_image", "file_id": file_id}, {"type": "input_text", "text": "look at it"}]
        return {"input": [{"type": "message", "role": "user", "content": content}]}

    path = f"/v1/responses/{response['id']}"
    refused = await client.post(f"{path}/steer", json=message(new_id("file-")))
    is_error(refused, 404, "not_found", "input[0].content[0].file_id")
    assert (await client.post(f"{path}/steer", json=message(image))).status_code == 200
    draft.released.set()

    async def has_ended() -> bool:
        return (await client.get(path)).json()["status"] == "completed"

    await until(has_ended)
    assert base64.b64encode(PNG).decode() in str(answer.messages[-1])
