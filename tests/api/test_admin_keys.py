"""API keys that an operator makes, changes and revokes while the server runs."""

from __future__ import annotations

import signal
import time
from typing import Any

import httpx
import pytest
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from websockets.asyncio.client import connect

from api.admin.keys import _changed
from open_responses.api_keys.state import API_KEYS_ID, INVALID_VALUE, KEYS_FULL, ApiKeysState, StoredKey
from open_responses.errors import Conflict, InvalidRequest, Unavailable
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis
from tests.support.api_with_keys import api_of_the_module, bearer, key_block, keyed_api
from tests.support.responses_http import is_error
from tests.support.stack import Stack, until
from tests.support.temporal_client import client_of_temporal
from tests.support.websocket_client import Client as WebSocketClient

KEYS = "/v1/admin/keys"
ADMIN, TENANT = bearer("admin-keys-operator"), bearer("admin-keys-tenant")
BLOCKS = (
    key_block("house", "admin-keys-operator", 'scopes = ["admin"]'),
    key_block("plain", "admin-keys-tenant", "requests_per_minute = 1000"),
)

api = api_of_the_module(*BLOCKS)
# Another process: the second one behind a load balancer.
other = api_of_the_module(*BLOCKS)


async def made(api: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await api.post(KEYS, json={"tenant": "acme", **body}, headers=ADMIN)
    assert answer.status_code == 201, answer.text
    key: dict[str, Any] = answer.json()
    return key


async def changed(api: httpx.AsyncClient, key: dict[str, Any], **body: Any) -> dict[str, Any]:
    answer = await api.post(f"{KEYS}/{key['id']}", json=body, headers=ADMIN)
    assert answer.status_code == 200, answer.text
    after: dict[str, Any] = answer.json()
    return after


async def status(api: httpx.AsyncClient, key: dict[str, Any]) -> int:
    return (await api.get("/v1/models", headers=bearer(key["key"]))).status_code


async def until_status(api: httpx.AsyncClient, key: dict[str, Any], wanted: int) -> None:
    async def has_it() -> bool:
        return await status(api, key) == wanted

    await until(has_it)


async def listed(api: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    answer = await api.get(KEYS, params={"limit": 100, **query}, headers=ADMIN)
    assert answer.status_code == 200, answer.text
    keys: list[dict[str, Any]] = answer.json()["data"]
    return keys


async def test_a_key_works_at_once_and_soon_in_every_process(api: httpx.AsyncClient, other: httpx.AsyncClient) -> None:
    key = await made(api, name="their CI", models=["fake"], limits={"requests_per_minute": 50, "budget_period": "day"})
    assert key["key"].startswith(key["prefix"])
    assert (key["source"], key["revoked_at"], key["tenant"], key["name"]) == ("runtime", None, "acme", "their CI")
    assert (key["limits"]["requests_per_minute"], key["limits"]["max_open_streams"]) == (50, 100)
    body = {"model": "fake", "input": "hello"}
    answer = await api.post("/v1/responses", json=body, headers=bearer(key["key"]))
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-ratelimit-limit-requests"] == "50"
    is_error(
        await api.post("/v1/responses", json={**body, "model": "smollm2"}, headers=bearer(key["key"])),
        403,
        "permission_denied",
    )
    await until_status(other, key, 200)
    mine = [row for row in await listed(other, tenant="acme") if row["id"] == key["id"]]
    assert [row["name"] for row in mine] == ["their CI"]
    assert "key" not in mine[0]


async def test_a_changed_limit_applies_to_the_next_request_in_every_process(
    api: httpx.AsyncClient, other: httpx.AsyncClient
) -> None:
    key = await made(api, limits={"reads_per_minute": 1000, "max_concurrent": 5})
    await until_status(other, key, 200)
    after = await changed(api, key, limits={"reads_per_minute": 1}, name="few")
    assert (after["limits"]["reads_per_minute"], after["limits"]["max_concurrent"]) == (1, 5)
    for one in (api, other):
        await until_status(one, key, 429)
    assert (await changed(api, key, limits={"reads_per_minute": None}))["limits"]["reads_per_minute"] is None
    for one in (api, other):
        await until_status(one, key, 200)


async def test_a_revoked_key_is_refused_in_every_process_and_stays_refused(
    api: httpx.AsyncClient, other: httpx.AsyncClient
) -> None:
    key = await made(api)
    await until_status(other, key, 200)
    revoked = (await api.delete(f"{KEYS}/{key['id']}", headers=ADMIN)).json()
    assert revoked["revoked_at"] is not None
    answer = await api.get("/v1/models", headers=bearer(key["key"]))
    is_error(answer, 401, "invalid_api_key")
    assert "revoked" in answer.json()["error"]["message"]
    await until_status(other, key, 401)
    again = await api.delete(f"{KEYS}/{key['id']}", headers=ADMIN)
    assert (again.status_code, again.json()["revoked_at"]) == (200, revoked["revoked_at"])
    is_error(await api.post(f"{KEYS}/{key['id']}", json={"name": "x"}, headers=ADMIN), 409, "api_key_revoked")


async def test_a_key_expires_by_itself_and_may_be_expired(api: httpx.AsyncClient) -> None:
    soon = await made(api, expires_at=int(time.time()) + 2)
    later = await made(api, expires_at=int(time.time()) + 1000)
    await until_status(api, later, 200)
    await changed(api, later, expires_at=int(time.time()) - 1)
    await until_status(api, later, 401)
    assert (await changed(api, later, expires_at=None))["expires_at"] is None
    await until_status(api, later, 200)
    await until_status(api, soon, 401)


async def test_a_flush_of_redis_loses_no_key(stack: Stack, api: httpx.AsyncClient, other: httpx.AsyncClient) -> None:
    key, revoked = await made(api), await made(api)
    await api.delete(f"{KEYS}/{revoked['id']}", headers=ADMIN)
    await stack.flush()
    async with keyed_api(stack, *BLOCKS) as fresh:
        for one in (api, other, fresh):
            await until_status(one, key, 200)
            await until_status(one, revoked, 401)
        assert key["id"] in {row["id"] for row in await listed(fresh)}


async def test_known_keys_work_while_temporal_or_redis_is_frozen(stack: Stack, api: httpx.AsyncClient) -> None:
    key, revoked = await made(api), await made(api)
    await api.delete(f"{KEYS}/{revoked['id']}", headers=ADMIN)
    for name in ("temporal", "valkey"):
        stack.signal(name, signal.SIGSTOP)
        try:
            assert [await status(api, one) for one in (key, revoked)] == [200, 401]
        finally:
            stack.signal(name, signal.SIGCONT)


async def test_keys_outlive_a_termination_of_their_workflow(stack: Stack, api: httpx.AsyncClient) -> None:
    before, revoked = await made(api), await made(api)
    await api.delete(f"{KEYS}/{revoked['id']}", headers=ADMIN)
    temporal = await client_of_temporal(stack)
    await temporal.get_workflow_handle(API_KEYS_ID).terminate("by mistake")
    after = await made(api)
    await stack.flush()
    for key, wanted in ((before, 200), (after, 200), (revoked, 401)):
        await until_status(api, key, wanted)
    ids = {row["id"] for row in await listed(api)}
    assert {before["id"], after["id"], revoked["id"]} <= ids


async def test_a_cancellation_of_their_workflow_takes_no_key(stack: Stack, api: httpx.AsyncClient) -> None:
    key = await made(api)
    handle = (await client_of_temporal(stack)).get_workflow_handle(API_KEYS_ID)
    await handle.cancel()
    assert await status(api, await made(api)) == 200
    assert (await handle.describe()).status is not None
    assert key["id"] in {stored.id for stored in (await state_of(await client_of_temporal(stack))).keys}


async def state_of(temporal: Client) -> ApiKeysState:
    handle = temporal.get_workflow_handle(API_KEYS_ID)
    state: ApiKeysState = await handle.query("state", result_type=ApiKeysState)
    return state


async def test_no_key_is_stored_anywhere_but_its_hash(stack: Stack, redis: Redis, api: httpx.AsyncClient) -> None:
    key = await made(api)
    secret = key["key"].removeprefix(key["prefix"])
    state = (await state_of(await client_of_temporal(stack))).model_dump_json()
    copy = await redis.hget(key_names.API_KEYS, "keys")
    assert copy is not None
    assert key["id"] in state
    assert key["id"] in copy.decode()
    assert secret not in state + copy.decode()
    for file in (stack.data / "logs").iterdir():
        assert secret not in file.read_text(errors="replace")


async def test_a_copy_that_is_out_of_date_is_corrected(redis: Redis, api: httpx.AsyncClient) -> None:
    """As if the process that revoked the key had died before it could say so."""
    key = await made(api)
    document = await redis.hgetall(key_names.API_KEYS)
    await api.delete(f"{KEYS}/{key['id']}", headers=ADMIN)
    assert await status(api, key) == 401
    await redis.hset(key_names.API_KEYS, mapping={**document, b"checked": b"0"})
    await redis.delete(key_names.API_KEYS_LOOK)

    async def is_current() -> bool:
        return await redis.hget(key_names.API_KEYS, "revision") != document[b"revision"]

    await until(is_current)
    await until_status(api, key, 401)


async def test_every_change_is_in_the_audit_log_with_its_maker(api: httpx.AsyncClient) -> None:
    key = await made(api, tenant="audited", limits={"budget_tokens": 10})
    await changed(api, key, limits={"budget_tokens": 20}, expires_at=None, name="n")
    await api.delete(f"{KEYS}/{key['id']}", headers=ADMIN)
    answer = (await api.get(f"{KEYS}/audit", params={"limit": 3}, headers=ADMIN)).json()
    operator = next(row["id"] for row in await listed(api) if row["tenant"] == "house")
    rows = answer["data"]
    assert [(row["object"], row["action"], row["key_id"], row["by"]) for row in rows] == [
        ("api_key.change", action, key["id"], operator) for action in ("revoked", "changed", "created")
    ]
    names = [(row["key_name"], row["by_tenant"], row["by_name"]) for row in rows]
    assert names == [("n", "house", None)] * 3
    assert rows[1]["fields"] == ["limits.budget_tokens", "name"]
    assert rows[1]["values"] == {"limits.budget_tokens": 20, "name": "n"}
    assert answer["has_more"] is True
    second = (await api.get(f"{KEYS}/audit", params={"limit": 1, "after": rows[0]["id"]}, headers=ADMIN)).json()
    assert second["data"] == [rows[1]]


async def test_the_list_has_pages_and_says_when_a_key_was_used_last(api: httpx.AsyncClient) -> None:
    older, newer = await made(api, tenant="paged"), await made(api, tenant="paged")
    first = (await api.get(KEYS, params={"tenant": "paged", "limit": 1}, headers=ADMIN)).json()
    assert ([row["id"] for row in first["data"]], first["has_more"]) == ([newer["id"]], True)
    query = {"tenant": "paged", "limit": 1, "after": first["last_id"]}
    second = (await api.get(KEYS, params=query, headers=ADMIN)).json()
    assert ([row["id"] for row in second["data"]], second["has_more"]) == ([older["id"]], False)
    assert await status(api, newer) == 200

    async def is_noted() -> bool:
        one = (await api.get(f"{KEYS}/{newer['id']}", headers=ADMIN)).json()
        return one["last_used_at"] is not None

    await until(is_noted)
    assert (await api.get(f"{KEYS}/{older['id']}", headers=ADMIN)).json()["last_used_at"] is None


@pytest.mark.parametrize("path", ["", "/audit"])
async def test_a_page_begins_behind_an_entry_of_the_list_alone(api: httpx.AsyncClient, path: str) -> None:
    await made(api, tenant="listed once")
    asked = await api.get(KEYS + path, params={"after": f"key_{'0' * 24}"}, headers=ADMIN)
    is_error(asked, 404, "not_found", "after")
    is_error(await api.get(KEYS + path, params={"limti": 1}, headers=ADMIN), 400, "unknown_parameter", "limti")


@pytest.mark.parametrize("tenant", ["o'ne", "a''b", "x' OR 'a' = 'a or", "é ✓ %_--"])
async def test_each_tenant_that_a_key_may_have_can_list_its_responses(api: httpx.AsyncClient, tenant: str) -> None:
    key = await made(api, tenant=tenant)
    listed = await api.get("/v1/responses", headers=bearer(key["key"]))
    assert (listed.status_code, listed.json().get("data")) == (200, [])


async def test_a_key_of_the_file_is_listed_and_changed_there_alone(api: httpx.AsyncClient) -> None:
    row = next(row for row in await listed(api) if row["tenant"] == "plain")
    assert (row["source"], row["limits"]["requests_per_minute"], row["created_at"]) == ("file", 1000, None)
    is_error(await api.post(f"{KEYS}/{row['id']}", json={"name": "x"}, headers=ADMIN), 409, "api_key_in_file")
    is_error(await api.delete(f"{KEYS}/{row['id']}", headers=ADMIN), 409, "api_key_in_file")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("POST", ""), ("GET", "/audit"), ("GET", "/key_x"), ("POST", "/key_x"), ("DELETE", "/key_x")],
)
async def test_only_an_operator_may(api: httpx.AsyncClient, method: str, path: str) -> None:
    is_error(await api.request(method, KEYS + path, json={}, headers=TENANT), 403, "permission_denied")
    is_error(await api.request(method, KEYS + path, json={}), 401, "invalid_api_key")


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_an_unknown_key_is_not_found(api: httpx.AsyncClient, method: str) -> None:
    answer = await api.request(method, f"{KEYS}/key_{'0' * 24}", json={"name": "x"}, headers=ADMIN)
    is_error(answer, 404, "not_found")


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_required_parameter", "tenant"),
        ({"tenant": ""}, "invalid_value", "tenant"),
        ({"tenant": "a\nb"}, "invalid_value", "tenant"),
        ({"tenant": "a\u202eb"}, "invalid_value", "tenant"),
        ({"tenant": "x" * 65}, "invalid_value", "tenant"),
        ({"tenant": "'x"}, "invalid_value", "tenant"),
        ({"tenant": "x'"}, "invalid_value", "tenant"),
        ({"tenant": "a\\b"}, "invalid_value", "tenant"),
        ({"tenant": 'a"b'}, "invalid_value", "tenant"),
        ({"tenant": 7}, "invalid_type", "tenant"),
        ({"name": "\x00"}, "invalid_value", "name"),
        ({"scopes": ["root"]}, "invalid_value", "scopes[0]"),
        ({"scopes": "admin"}, "invalid_type", "scopes"),
        ({"models": [""]}, "invalid_value", "models[0]"),
        ({"tools": ["nothing"]}, "invalid_value", "tools[0]"),
        ({"limits": {"requests_per_minute": 0}}, "invalid_value", "limits.requests_per_minute"),
        ({"limits": {"tokens_per_minute": 10**16}}, "invalid_value", "limits.tokens_per_minute"),
        ({"limits": {"max_concurrent": 1.5}}, "invalid_type", "limits.max_concurrent"),
        ({"limits": {"max_received_bytes": True}}, "invalid_type", "limits.max_received_bytes"),
        ({"limits": {"budget_usd": 1_000_001}}, "invalid_value", "limits.budget_usd"),
        ({"limits": {"budget_period": "week"}}, "invalid_value", "limits.budget_period"),
        ({"limits": {"budget_token": 1}}, "unknown_parameter", "limits.budget_token"),
        ({"weight": 0}, "invalid_value", "weight"),
        ({"expires_at": 1}, "invalid_value", "expires_at"),
        ({"expires_at": "tomorrow"}, "invalid_type", "expires_at"),
        ({"expire_at": 1}, "unknown_parameter", "expire_at"),
    ],
)
async def test_what_a_key_cannot_have_is_a_400_that_names_the_field(
    api: httpx.AsyncClient, body: dict[str, Any], code: str, param: str
) -> None:
    full = body if code == "missing_required_parameter" else {"tenant": "acme", **body}
    answer = await api.post(KEYS, json=full, headers=ADMIN)
    is_error(answer, 400, code, param)
    assert "Input should" not in answer.json()["error"]["message"]


async def test_a_socket_of_a_revoked_key_gets_no_further_answer(api: httpx.AsyncClient) -> None:
    key = await made(api)
    url = f"ws{str(api.base_url).removeprefix('http')}/v1/responses"
    async with connect(url, additional_headers=bearer(key["key"])) as connection:
        client = WebSocketClient(connection)
        assert (await client.answer(input="hello"))["status"] == "completed"
        await api.delete(f"{KEYS}/{key['id']}", headers=ADMIN)
        await client.ask(input="hello")
        await client.is_refused(401, "invalid_api_key")


async def test_a_server_that_needs_no_key_makes_none(client: httpx.AsyncClient) -> None:
    answer = await client.post(KEYS, json={"tenant": "acme"})
    is_error(answer, 409, "no_admin_key")
    assert "scopes" in answer.json()["error"]["message"]
    assert (await client.get(KEYS)).json()["data"] == []


async def test_a_change_that_the_keys_refuse_is_a_409_and_one_without_an_answer_a_503() -> None:
    async def change(error: Exception) -> StoredKey:
        raise error

    full = WorkflowUpdateFailedError(ApplicationError("There are 1000 keys.", type=KEYS_FULL))
    with pytest.raises(Conflict, match="1000") as refused:
        await _changed(change(full))
    assert refused.value.error_code == "api_keys_full"
    odd = WorkflowUpdateFailedError(ApplicationError("No table could have it.", type=INVALID_VALUE))
    with pytest.raises(InvalidRequest, match="No table"):
        await _changed(change(odd))
    with pytest.raises(Unavailable, match="not known"):
        await _changed(change(TimeoutError()))
