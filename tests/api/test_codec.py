"""The codec endpoint shows an operator what Temporal holds, and nobody else (issue 6; `api/codec.py`)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
import string
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio
from temporalio.client import Client

from dev import services
from tests.support.api_with_keys import bearer, key_block
from tests.support.encryption_keys import OLD, variable
from tests.support.fake_upstream import Script, Upstream
from tests.support.own_stack import client as client
from tests.support.own_stack import stack as stack
from tests.support.responses_http import is_error
from tests.support.small_stack import small_stack
from tests.support.stack import Stack, another_api, check_whole, collect, until

pytestmark = pytest.mark.campaign

UI = "http://127.0.0.1:8233"
TOKEN = "an operator's/token"


@pytest_asyncio.fixture(scope="module")
async def own_stack(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> AsyncIterator[Stack]:
    data = tmp_path_factory.mktemp("codec")
    async with small_stack(data, upstream, ENCRYPTION_KEYS=variable(OLD), ERASE_AFTER_SECONDS="4") as stack:
        yield stack


async def payloads_of(stack: Stack, response_id: str) -> list[dict[str, Any]]:
    """All of a closed workflow's history, as the UI has them: proto-JSON."""
    temporal = await Client.connect(stack.temporal_address)
    handle = temporal.get_workflow_handle(response_id)

    async def has_closed() -> bool:
        return (await handle.describe()).close_time is not None

    await until(has_closed)
    return list(_payloads(json.loads((await handle.fetch_history()).to_json())))


def _payloads(node: Any, above: str = "") -> list[dict[str, Any]]:
    if isinstance(node, list):
        return [found for one in node for found in _payloads(one, above)]
    if not isinstance(node, dict) or above in ("searchAttributes", "data"):
        return []
    if "metadata" in node and "encoding" in node["metadata"]:
        return [node]
    return [found for key, value in node.items() for found in _payloads(value, key)]


def text_of(payloads: list[dict[str, Any]]) -> str:
    return "\n".join(base64.b64decode(payload["data"]).decode() for payload in payloads)


async def decoded(client: httpx.AsyncClient, payloads: list[dict[str, Any]]) -> list[dict[str, Any]]:
    answer = await client.post("/codec/decode", json={"payloads": payloads}, headers={"Origin": UI})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["payloads"]
    assert len(found) == len(payloads)
    return found


# --- what it shows


async def test_a_history_is_decrypted_and_decompressed_and_its_files_are_fetched(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    noise = "".join(random.Random(5).choices(string.ascii_lowercase, k=400_000))
    calls = [{"id": "call_1", "name": "get_weather", "arguments": json.dumps({"city": "Paris"})}]
    upstream.says(noise, Script(words=0, tool_calls=calls, turns=[Script(literal="sunny " * 1000)]))
    body = {"input": noise, "tools": [{"type": "function", "name": "get_weather"}]}
    response = check_whole(await collect(client, body), "sunny " * 1000)
    payloads = await payloads_of(stack, response["id"])
    for secret in (noise[:50], "sunny", "Paris"):
        assert secret not in text_of([one for one in payloads if "externalPayloads" in one])
    shown = text_of(await decoded(client, payloads))
    for text in (noise, "sunny " * 1000, '({\\"city\\":\\"Paris\\"})', "fake · default"):
        assert text in shown


async def test_what_an_operator_encodes_our_workers_read(client: httpx.AsyncClient, stack: Stack) -> None:
    plain = {"metadata": {"encoding": "anNvbi9wbGFpbg=="}, "data": "InRleHQi"}
    answer = await client.post("/codec/encode", json={"payloads": [plain]})
    (sealed,) = answer.json()["payloads"]
    assert sealed["metadata"]["encoding"] != plain["metadata"]["encoding"]
    assert sealed["data"] != plain["data"]
    assert await decoded(client, [sealed, plain]) == [plain, plain]


async def test_what_cannot_be_read_says_why_and_the_rest_is_shown(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """A response that was not to be stored, while Temporal has it still: its payloads have lost their key."""
    script = upstream.says("codec unstored", Script(words=4, hold_after=2))
    reading = asyncio.create_task(collect(client, {"input": "codec unstored", "store": False}))
    await asyncio.wait_for(script.held.wait(), 50)
    temporal = await Client.connect(stack.temporal_address)
    (folder,) = (stack.data / "blobs" / "keys").iterdir()
    history = await temporal.get_workflow_handle(folder.name).fetch_history()
    payloads = _payloads(json.loads(history.to_json()))
    assert "codec unstored" in text_of(await decoded(client, payloads))
    script.released.set()
    await reading
    await until(lambda: _is_missing(folder))
    plain = {"metadata": {"encoding": "anNvbi9wbGFpbg=="}, "data": "InRleHQi"}
    *lost, kept = await decoded(client, [*payloads, plain])
    assert kept == plain
    assert "has ended" in text_of(lost)
    assert "codec unstored" not in text_of(lost)


async def _is_missing(path: Any) -> bool:
    return not path.exists()


@pytest.mark.parametrize("body", [b"", b"{", b'{"payloads": 1}', b'{"other": []}', b"\xff"])
async def test_what_is_no_list_of_payloads_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    is_error(await client.post("/codec/decode", content=body), 400, "invalid_request")


async def test_a_damaged_payload_does_no_harm(client: httpx.AsyncClient) -> None:
    for encoding in ("YmluYXJ5L3pzdGQ=", "YmluYXJ5L2VuY3J5cHRlZA==", "anNvbi9wcm90b2J1Zg=="):
        broken = {"metadata": {"encoding": encoding, "messageType": "dGVtcG9yYWw="}, "data": "AAAA"}
        (shown,) = await decoded(client, [broken])
        assert shown == broken or "not readable" in text_of([shown])


async def test_the_ui_of_make_dev_is_told_where_to_decode(tmp_path: Path) -> None:
    port, ui_port = services.free_port(), services.free_port()
    codec = "http://127.0.0.1:8080/codec/a-token-in-the-path"
    service = services.temporal(port, tmp_path, ui_port=ui_port, codec=codec)
    process = service.start(tmp_path)
    try:
        async with httpx.AsyncClient(trust_env=False) as client:

            async def told() -> bool:
                with contextlib.suppress(httpx.TransportError):
                    settings = await client.get(f"http://127.0.0.1:{ui_port}/api/v1/settings")
                    return settings.status_code == 200 and settings.json()["Codec"]["Endpoint"] == codec
                return False

            await until(told, 30)
    finally:
        await services.stop(process)


# --- who may ask


async def post(client: httpx.AsyncClient, **headers: str) -> httpx.Response:
    return await client.post("/codec/decode", json={"payloads": []}, headers=headers)


async def test_the_ui_on_this_machine_may_ask_by_both_of_its_names(client: httpx.AsyncClient) -> None:
    for origin in (UI, UI.replace("127.0.0.1", "localhost")):
        answer = await client.options(
            "/codec/decode",
            headers={
                "Origin": origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type,x-namespace",
            },
        )
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == origin
        answer = await post(client, Origin=origin)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:3000", "null", "http://localhost"])
async def test_other_pages_may_not(client: httpx.AsyncClient, origin: str) -> None:
    answer = await post(client, Origin=origin)
    is_error(answer, 403, "origin_not_allowed")
    assert "access-control-allow-origin" not in answer.headers


async def test_a_name_that_points_here_is_not_this_machine(client: httpx.AsyncClient) -> None:
    is_error(await post(client, Host="evil.example"), 403, "no_api_keys")


async def test_origins_of_the_api_are_not_those_of_the_codec(stack: Stack) -> None:
    page = "https://app.example"
    async with another_api(stack, env={"OPEN_RESPONSES_CORS_ORIGINS": page}) as client:
        is_error(await post(client, Origin=page), 403, "origin_not_allowed")
        answer = await client.options("/codec/decode", headers={"Origin": UI, "Access-Control-Request-Method": "POST"})
        assert answer.headers["access-control-allow-origin"] == UI
        preflight = {"Origin": UI, "Access-Control-Request-Method": "POST"}
        answer = await client.options("/v1/responses", headers=preflight)
        assert answer.status_code == 400


async def test_with_api_keys_there_is_no_codec_without_a_token(stack: Stack) -> None:
    async with another_api(stack, tail=key_block("acme", "key-of-acme")) as client:
        is_error(await post(client), 404, "not_found")
        is_error(await post(client, **bearer("key-of-acme")), 404, "not_found")
        is_error(await client.post(f"/codec/{quote(TOKEN)}/decode", json={"payloads": []}), 404, "not_found")


async def test_an_operators_key_decodes_as_the_codecs_token_does(stack: Stack) -> None:
    keys = "\n".join([key_block("acme", "key-of-acme"), key_block("ops", "key-of-ops", 'scopes = ["admin"]')])
    for env in ({}, {"OPEN_RESPONSES_CODEC_TOKEN": TOKEN}):
        async with another_api(stack, tail=keys, env=env) as client:
            assert (await post(client, **bearer("key-of-ops"))).status_code == 200
            assert (await post(client, **bearer("key-of-acme"))).status_code in (401, 404)


async def test_a_page_of_the_ui_has_the_token_in_its_codecs_address(stack: Stack) -> None:
    """Temporal's UI sends no header without a login."""
    keys = key_block("acme", "key-of-acme")
    async with another_api(stack, tail=keys, env={"OPEN_RESPONSES_CODEC_TOKEN": TOKEN}) as client:
        for what in ("decode", "encode"):
            url = f"/codec/{quote(TOKEN, safe='')}/{what}"
            answer = await client.post(url, json={"payloads": []}, headers={"Origin": UI})
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, UI)
            is_error(await client.post(f"/codec/x/{what}", json={"payloads": []}), 401, "invalid_api_key")
            evil = await client.post(url, json={"payloads": []}, headers={"Origin": "https://evil.example"})
            is_error(evil, 403, "origin_not_allowed")


async def test_an_open_server_decodes_for_this_machine_alone(stack: Stack) -> None:
    """`OPEN_RESPONSES_ALLOW_OPEN` is about answers, not about everybody's history."""
    async with another_api(stack, env={"OPEN_RESPONSES_ALLOW_OPEN": "1"}) as client:
        assert (await post(client)).status_code == 200
        is_error(await post(client, Host="somewhere.example"), 403, "no_api_keys")


async def test_with_a_token_who_has_it_may_ask_from_anywhere(stack: Stack) -> None:
    keys = key_block("acme", "key-of-acme")
    async with another_api(stack, tail=keys, env={"OPEN_RESPONSES_CODEC_TOKEN": TOKEN}) as client:
        assert (await post(client, Host="codec.example", **bearer(TOKEN))).status_code == 200
        assert (await post(client, Origin=UI, **bearer(TOKEN))).status_code == 200
        is_error(await post(client, Origin="https://evil.example", **bearer(TOKEN)), 403, "origin_not_allowed")
        for wrong in ({}, bearer("key-of-acme"), bearer(TOKEN + "x"), {"Authorization": TOKEN}):
            is_error(await post(client, **wrong), 401, "invalid_api_key")
