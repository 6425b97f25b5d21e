"""Tenants and their keys: who gets in, what each may ask for, and that another's things cannot be told from none."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio
import websockets
from openai import AsyncOpenAI
from pydantic import ValidationError

from api.auth import Caller
from api.dependencies import require_admin
from api.openai_forms import PREFIX
from open_responses.config import Config
from open_responses.config_tables.api_keys import ApiKeyConfig
from open_responses.errors import PermissionDenied
from open_responses.ids import new_id
from open_responses.io.settings import Settings
from open_responses.io.store.containers import container_of
from tests.support.api_with_keys import api_of_the_module, bearer, key_block, keyed_api
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.responses_http import is_error
from tests.support.stack import Stack, until

# Both names of each endpoint.
PREFIXES = ("", PREFIX)
HOSTED = [{"type": "open_responses:hosted_tools"}]
CALC = {"type": "mcp", "server_label": "calc", "require_approval": "never"}

api = api_of_the_module(
    key_block("owner", "owner-key"),
    key_block("stranger", "stranger-key"),
    key_block("house", "operator-key", 'scopes = ["admin"]'),
    key_block("scoped", "scoped-key", 'models = ["fake", "gpt-*"]', 'tools = ["get_weather", "calc"]'),
)


async def ask(api: httpx.AsyncClient, key: str, **body: Any) -> httpx.Response:
    return await api.post("/v1/responses", json={"model": "fake", "input": "hello", **body}, headers=bearer(key))


# --- who gets in


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("wrong"),
        {"Authorization": "Bearer"},
        bearer("owner-key2"),
        {"Authorization": "owner-key"},
        {"Authorization": "Basic owner-key"},
        {"Authorization": b"Bearer \xff\xfe"},
    ],
)
async def test_without_a_known_key_there_is_nothing_but_a_401(api: httpx.AsyncClient, headers: Any) -> None:
    for prefix in PREFIXES:
        for method, path in ENDPOINTS:
            answer = await api.request(method, prefix + path.format(id=new_id("resp_")), headers=headers, json={})
            is_error(answer, 401, "invalid_api_key")


async def test_the_openai_sdk_raises_what_it_has_for_it(api: httpx.AsyncClient) -> None:
    url = f"{api.base_url}/v1"
    with pytest.raises(openai.AuthenticationError):
        await AsyncOpenAI(base_url=url, api_key="wrong").responses.create(model="fake", input="x")
    with pytest.raises(openai.PermissionDeniedError):
        await AsyncOpenAI(base_url=url, api_key="scoped-key").responses.create(model="smollm2", input="x")


def keys_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "open_responses", "keys", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.campaign
async def test_a_key_that_the_command_made_lets_its_tenant_in(stack: Stack) -> None:
    made = keys_command("add", "new tenant")
    assert made.returncode == 0
    key = next(line for line in made.stdout.splitlines() if line.startswith("or-"))
    block = made.stdout[made.stdout.index("[[api_keys]]") :]
    assert tomllib.loads(block)["api_keys"][0]["tenant"] == "new tenant"
    assert key not in block
    assert key not in keys_command("add", "new tenant").stdout
    async with keyed_api(stack, block) as client:
        assert (await ask(client, key)).status_code == 200
    assert keys_command("add", 'a"b').returncode != 0


def test_a_configuration_with_a_wrong_scope_or_a_doubled_key_does_not_start() -> None:
    key = {"tenant": "t", "sha256": secrets.token_hex(32)}
    with pytest.raises(ValidationError, match="names the tool 'nothing'"):
        Config.model_validate({"api_keys": [{**key, "tools": ["nothing"]}]})
    with pytest.raises(ValidationError, match="two API keys have the hash of 'key_") as doubled:
        Config.model_validate({"api_keys": [key, {**key, "tenant": "u"}]})
    assert key["sha256"] not in doubled.value.errors()[0]["msg"], "the message goes into logs"
    with pytest.raises(ValidationError):
        Config.model_validate({"api_keys": [{**key, "weight": 0}]})
    with pytest.raises(ValidationError, match="Input should be 'admin'"):
        Config.model_validate({"api_keys": [{**key, "scopes": ["root"]}]})


# --- operators


async def test_a_key_with_the_admin_scope_reads_and_ends_what_every_tenant_has(api: httpx.AsyncClient) -> None:
    operator = bearer("operator-key")
    made = (await ask(api, "owner-key", background=True, tools=HOSTED)).json()
    path = f"/v1/responses/{made['id']}"
    assert (await api.get(path, headers=operator)).json()["id"] == made["id"]
    assert (await api.get(f"{path}/input_items", headers=operator)).json()["data"]
    assert (await api.post(f"{path}/cancel", headers=operator)).status_code == 200
    assert (await api.delete(path, headers=operator)).json()["deleted"] is True
    is_error(await api.get(path, headers=bearer("owner-key")), 404, "not_found")


async def test_a_key_with_the_admin_scope_still_continues_only_what_its_own_tenant_has(api: httpx.AsyncClient) -> None:
    made = (await ask(api, "owner-key")).json()
    answer = await ask(api, "operator-key", previous_response_id=made["id"])
    is_error(answer, 400, "previous_response_not_found")


async def test_an_endpoint_for_operators_refuses_the_key_of_a_tenant() -> None:
    key = {"tenant": "t", "sha256": secrets.token_hex(32)}
    tenant, operator = ApiKeyConfig.model_validate(key), ApiKeyConfig.model_validate({**key, "scopes": ["admin"]})
    with pytest.raises(PermissionDenied, match="scopes"):
        await require_admin(Caller("t", tenant))
    for caller in (Caller("t", operator), Caller("default")):
        assert await require_admin(caller) == caller


# --- what a key may ask for


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "smollm2"}, "model"),
        ({"model": "no-such-model"}, "model"),
        ({"tools": HOSTED}, "tools"),
        ({"tools": [{"type": "function", "name": "big"}]}, "tools"),
        ({"tools": [CALC, {"type": "mcp", "server_label": "old"}]}, "tools[1]"),
        ({"tools": [{**CALC, "server_label": "mine", "server_url": "https://example.com/mcp"}]}, "tools[0]"),
        ({"tools": [{**CALC, "server_url": "https://example.com/mcp"}]}, "tools[0]"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_key_may_not_have_is_a_403_before_anything_starts(
    api: httpx.AsyncClient, upstream: Upstream, body: dict[str, Any], param: str, stream: bool
) -> None:
    prompt = f"may I? {secrets.token_hex(4)}"
    is_error(await ask(api, "scoped-key", input=prompt, stream=stream, **body), 403, "permission_denied", param)
    assert prompt not in upstream.scripts


async def test_what_a_key_may_have_works(api: httpx.AsyncClient, upstream: Upstream) -> None:
    first = calls(("c", "get_weather", {"city": "Rome"}), ("d", "add", {"a": 2, "b": 3}))
    first.turns = [Script(words=2)]
    upstream.says("scoped", first)
    tools = [{"type": "function", "name": "get_weather"}, CALC]
    answer = (await ask(api, "scoped-key", input="scoped", tools=tools)).json()
    assert answer["status"] == "completed", answer
    outputs = [item["output"] for item in answer["output"] if item["type"] in ("function_call_output", "mcp_call")]
    assert len(outputs) == 2
    own = {"type": "function", "name": "of_the_client", "parameters": {"type": "object"}}
    assert (await ask(api, "scoped-key", tools=[own])).status_code == 200


async def test_a_key_is_shown_the_models_that_it_may_use(api: httpx.AsyncClient) -> None:
    listed = (await api.get("/v1/models", headers=bearer("scoped-key"))).json()["data"]
    assert {model["id"] for model in listed} == {"fake"}
    assert (await api.get("/v1/models/smollm2", headers=bearer("scoped-key"))).status_code == 404


# --- whose things are whose


# Every endpoint that takes an id; `test_every_endpoint_is_tried` holds this to what the server has.
ENDPOINTS = [
    ("GET", "/v1/responses/{id}"),
    ("POST", "/v1/responses/{id}/cancel"),
    ("DELETE", "/v1/responses/{id}"),
    ("GET", "/v1/responses/{id}/input_items"),
    ("POST", "/v1/responses/{id}/approvals"),
    ("POST", "/v1/responses/{id}/steer"),
    ("GET", "/v1/responses/{id}/timeline"),
]
# Endpoints whose ids are of another kind, by the beginning of their path, and the test that tries another tenant's.
TRIED_ELSEWHERE = {
    "/v1/vector_stores": "api.test_tenants.test_a_vector_store_of_another_tenant_is_an_unknown_one",
    "/v1/files": "api.test_tenants.test_a_file_of_another_tenant_is_an_unknown_one",
    "/v1/containers": "api.test_tenants.test_a_container_of_another_tenant_is_an_unknown_one",
    "/v1/conversations": "api.test_conversations.test_a_conversation_of_another_tenant_is_an_unknown_one",
    "/v1/admin/keys": "no tenant has a part in it: api.test_admin_keys.test_only_an_operator_may",
    "/v1/webhook_endpoints": "api.test_webhook_endpoints.test_a_delivery_of_another_tenant_is_an_unknown_one",
    "/v1/webhook_deliveries": "api.test_webhook_endpoints.test_a_delivery_of_another_tenant_is_an_unknown_one",
    "/v1/schedules": "api.test_schedule_owners.test_a_schedule_of_another_tenant_is_an_unknown_one",
    "/codec": "no tenant has a part in it: it decodes for the operator",
}
WITHOUT_IDS_OF_RESPONSES = {
    "/v1/responses",
    "/v1/responses/compact",
    "/v1/responses/input_tokens",
    "/v1/approvals",
    "/v1/webhook_event_types",
    "/v1/usage",
    "/v1/admin/health",
    "/v1/admin/refusals",
    "/v1/models",
    "/v1/models/{model}",
    "/healthz",
    "/readyz",
}


@dataclass(frozen=True)
class Belongings:
    """What the owner has, in each state that it may be in."""

    done: dict[str, Any]
    running: dict[str, Any]
    waiting: dict[str, Any]
    approval_id: str
    approval: dict[str, Any]
    compaction: dict[str, Any]


@pytest_asyncio.fixture(scope="module")
async def owned(api: httpx.AsyncClient, upstream: Upstream) -> AsyncIterator[Belongings]:
    done = (await ask(api, "owner-key", input="a secret")).json()
    never_ends = upstream.says("never ends", Script(words=5, hold_after=2))
    running = (await ask(api, "owner-key", input="never ends", background=True)).json()
    upstream.says("delete it", calls(("c", "delete_all", {"what": "disk"})))
    waiting = (await ask(api, "owner-key", input="delete it", tools=HOSTED, background=True)).json()
    asking = (await ask(api, "owner-key", input="delete it", tools=HOSTED)).json()["output"][-1]
    assert asking["type"] == "mcp_approval_request"

    async def asked() -> dict[str, Any] | None:
        now = (await api.get(f"/v1/responses/{waiting['id']}", headers=bearer("owner-key"))).json()
        return next((item for item in now["output"] if item["type"] == "mcp_approval_request"), None)

    async def asks() -> bool:
        return await asked() is not None

    await until(asks)
    waits_for = await asked()
    assert waits_for is not None
    body = {"model": "fake", "input": [{"role": "user", "content": "a long story"}]}
    compacted = await api.post("/v1/responses/compact", json=body, headers=bearer("owner-key"))
    assert compacted.status_code == 200, compacted.text
    compaction = next(item for item in compacted.json()["output"] if item["type"] == "compaction")
    yield Belongings(done, running, waiting, waits_for["id"], asking, compaction)
    never_ends.released.set()


def strange(answer: httpx.Response, *ids: str) -> tuple[int, dict[str, str], str]:
    """All that a stranger sees, without the ids that it sent itself and what changes with every answer."""
    text = answer.text
    for id in ids:
        text = text.replace(id, "<id>")
    headers = {name: value for name, value in answer.headers.items() if name not in ("date", "x-request-id")}
    return answer.status_code, headers, text


def test_every_endpoint_is_tried() -> None:
    from api.application import create_app

    found = {
        (method.upper(), path)
        for path, methods in create_app(Settings()).openapi()["paths"].items()
        for method in methods
        if path not in WITHOUT_IDS_OF_RESPONSES and not path.startswith(tuple(TRIED_ELSEWHERE))
    }
    assert found == {(method, path.format(id="{response_id}")) for method, path in ENDPOINTS}


@pytest.mark.parametrize(("method", "path"), [*ENDPOINTS, ("GET", "/v1/responses/{id}?stream=true&starting_after=1")])
@pytest.mark.parametrize("which", ["done", "running", "waiting"])
async def test_an_id_of_another_tenant_is_an_unknown_id(
    api: httpx.AsyncClient, owned: Belongings, method: str, path: str, which: str
) -> None:
    approval = {"approval_request_id": owned.approval_id, "approve": True}
    body = {"input": "stop"} if path.endswith("/steer") else approval
    foreign, unknown = getattr(owned, which)["id"], new_id("resp_")
    seen = []
    for prefix in PREFIXES:
        for id in (foreign, unknown):
            answer = await api.request(method, prefix + path.format(id=id), headers=bearer("stranger-key"), json=body)
            assert answer.status_code == 404
            seen.append(strange(answer, id))
    assert seen[:1] * 4 == seen
    still = await api.get(f"/v1/responses/{foreign}", headers=bearer("owner-key"))
    assert still.json()["status"] == ("completed" if which == "done" else "in_progress")


async def test_nothing_of_another_tenant_can_be_brought_in_the_input(api: httpx.AsyncClient, owned: Belongings) -> None:
    """Each with an id of the owner's, and with one that was never given out."""

    def approval(id: str) -> dict[str, Any]:
        shown = {**owned.approval, "id": id}
        word = {"type": "mcp_approval_response", "approval_request_id": id, "approve": True}
        return {"input": [shown, word], "tools": HOSTED}

    message = owned.done["output"][0]["id"]
    sealed = owned.compaction["encrypted_content"]
    changed = sealed[:-6] + ("AAAA" if sealed[-6:-2] != "AAAA" else "BBBB") + sealed[-2:]
    tries: list[tuple[Any, str, str]] = [
        (lambda id: {"previous_response_id": id}, owned.done["id"], new_id("resp_")),
        (lambda id: {"previous_response_id": id}, owned.running["id"], new_id("resp_")),
        (approval, owned.approval["id"], owned.approval["id"][:-4] + "0000"),
        (lambda id: {"input": [{"type": "item_reference", "id": id}]}, message, message[:-4] + "0000"),
        (lambda text: {"input": [{"type": "compaction", "encrypted_content": text}]}, sealed, changed),
    ]
    for make, foreign, unknown in tries:
        for path in ("/v1/responses", "/v1/responses/compact", "/v1/responses/input_tokens"):
            seen = []
            for id in (foreign, unknown):
                body = {"model": "fake", "input": "hello", **make(id)}
                if path.endswith("compact"):
                    body.pop("tools", None)
                answer = await api.post(path, json=body, headers=bearer("stranger-key"))
                seen.append(strange(answer, id, id[:80]))
            assert seen[0] == seen[1], (path, make(foreign))
            if path == "/v1/responses":
                assert seen[0][0] in (400, 404), seen[0]


async def test_a_file_of_another_tenant_is_an_unknown_one(api: httpx.AsyncClient) -> None:
    form: Any = {"data": {"purpose": "user_data"}, "files": {"file": ("a.txt", b"a secret")}}
    foreign = (await api.post("/v1/files", headers=bearer("owner-key"), **form)).json()["id"]
    unknown = new_id("file-")
    for method, path in (("GET", "{id}"), ("GET", "{id}/content"), ("DELETE", "{id}"), ("GET", "?after={id}")):
        seen = [
            strange(await api.request(method, f"/v1/files/{path.format(id=id)}", headers=bearer("stranger-key")), id)
            for id in (foreign, unknown)
        ]
        assert seen[0] == seen[1]
        assert seen[0][0] == 404, path
    seen = []
    for id in (foreign, unknown):
        part = {"type": "input_file", "file_id": id}
        answer = await ask(api, "stranger-key", input=[{"role": "user", "content": [part]}])
        is_error(answer, 404, "not_found", "input[0].content[0].file_id")
        seen.append(strange(answer, id))
    assert seen[0] == seen[1]
    assert (await api.get("/v1/files", headers=bearer("stranger-key"))).json()["data"] == []
    content = await api.get(f"/v1/files/{foreign}/content", headers=bearer("owner-key"))
    assert content.content == b"a secret"


async def test_a_vector_store_of_another_tenant_is_an_unknown_one(api: httpx.AsyncClient) -> None:
    owner, stranger = bearer("owner-key"), bearer("stranger-key")
    form: Any = {"data": {"purpose": "user_data"}, "files": {"file": ("a.txt", b"a secret")}}
    file = (await api.post("/v1/files", headers=owner, **form)).json()["id"]
    strangers = (await api.post("/v1/files", headers=stranger, **form)).json()["id"]
    foreign = (await api.post("/v1/vector_stores", headers=owner, json={"file_ids": [file]})).json()["id"]
    batch = (
        await api.post(f"/v1/vector_stores/{foreign}/file_batches", headers=owner, json={"file_ids": [file]})
    ).json()
    tries: list[tuple[str, str, Any]] = [
        ("GET", "", None),
        ("POST", "", {"name": "mine"}),
        ("POST", "/search", {"query": "secret"}),
        ("GET", "/files", None),
        ("POST", "/files", {"file_id": strangers}),
        ("GET", f"/files/{file}", None),
        ("POST", f"/files/{file}", {"attributes": {}}),
        ("DELETE", f"/files/{file}", None),
        ("GET", f"/files/{file}/content", None),
        ("POST", "/file_batches", {"file_ids": [strangers]}),
        ("GET", f"/file_batches/{batch['id']}", None),
        ("POST", f"/file_batches/{batch['id']}/cancel", None),
        ("GET", f"/file_batches/{batch['id']}/files", None),
        ("DELETE", "", None),
    ]
    unknown = new_id("vs_")
    for method, below, body in tries:
        seen = [
            strange(await api.request(method, f"/v1/vector_stores/{id}{below}", headers=stranger, json=body), id)
            for id in (foreign, unknown)
        ]
        assert seen[0] == seen[1]
        assert seen[0][0] == 404, (method, below)
    # Nor can another's file be brought into a store of one's own.
    is_error(
        await api.post("/v1/vector_stores", headers=stranger, json={"file_ids": [file]}),
        404,
        "not_found",
        "file_ids[0]",
    )
    assert (await api.get("/v1/vector_stores", headers=stranger)).json()["data"] == []
    assert (await api.get(f"/v1/vector_stores/{foreign}", headers=owner)).json()["name"] == ""


async def test_a_container_of_another_tenant_is_an_unknown_one(api: httpx.AsyncClient) -> None:
    owner, stranger = bearer("owner-key"), bearer("stranger-key")
    foreign = (await api.post("/v1/containers", headers=owner, json={"name": "secret"})).json()["id"]
    sent = {"file": ("a.txt", b"a secret")}
    file = (await api.post(f"/v1/containers/{foreign}/files", headers=owner, files=sent)).json()["id"]
    of_v1_files: Any = {"data": {"purpose": "user_data"}, "files": sent}
    owners = (await api.post("/v1/files", headers=owner, **of_v1_files)).json()["id"]
    strangers = (await api.post("/v1/files", headers=stranger, **of_v1_files)).json()["id"]
    tries: list[tuple[str, str, Any]] = [
        ("GET", "", None),
        ("GET", "/files", None),
        ("POST", "/files", {"file_id": strangers}),
        ("GET", f"/files/{file}", None),
        ("GET", f"/files/{file}/content", None),
        ("DELETE", f"/files/{file}", None),
        ("DELETE", "", None),
    ]
    unknown = container_of(new_id("resp_"))
    for method, below, body in tries:
        seen = [
            strange(await api.request(method, f"/v1/containers/{id}{below}", headers=stranger, json=body), id)
            for id in (foreign, unknown)
        ]
        assert seen[0] == seen[1]
        assert seen[0][0] == 404, (method, below)
    is_error(
        await api.post("/v1/containers", headers=stranger, json={"name": "x", "file_ids": [owners]}),
        404,
        "not_found",
        "file_ids[0]",
    )
    is_error(await api.get(f"/v1/containers?after={foreign}", headers=stranger), 404, "not_found", "after")
    assert (await api.get("/v1/containers", headers=stranger)).json()["data"] == []
    content = await api.get(f"/v1/containers/{foreign}/files/{file}/content", headers=owner)
    assert content.content == b"a secret"


async def test_a_foreign_id_takes_as_long_as_an_unknown_one(api: httpx.AsyncClient, owned: Belongings) -> None:
    """Medians of interleaved tries: one that ends in Redis would take a fraction of one that asks Temporal."""
    times: dict[str, list[float]] = {"foreign": [], "unknown": []}
    for _ in range(40):
        for which in times:
            id = owned.done["id"] if which == "foreign" else new_id("resp_")
            answer = await api.get(f"/v1/responses/{id}", headers=bearer("stranger-key"))
            times[which].append(answer.elapsed.total_seconds())
    foreign, unknown = (sorted(values)[len(values) // 2] for values in times.values())
    assert 0.6 < foreign / unknown < 1.7, (foreign, unknown)


async def test_the_owner_is_still_there(api: httpx.AsyncClient, owned: Belongings) -> None:
    """Last: the owner's own requests work, and end what the tests left running."""
    for id in (owned.running["id"], owned.waiting["id"]):
        answer = await api.post(f"/v1/responses/{id}/cancel", headers=bearer("owner-key"))
        assert answer.json()["status"] == "cancelled"
    deleted = await api.delete(f"/v1/responses/{owned.done['id']}", headers=bearer("owner-key"))
    assert deleted.json()["deleted"] is True


# --- request ids


async def test_every_answer_has_a_request_id(api: httpx.AsyncClient, stack: Stack) -> None:
    answers = [
        await api.get("/healthz"),
        await api.get("/nothing"),
        await api.get("/v1/models"),
        await ask(api, "owner-key"),
        await ask(api, "owner-key", stream=True),
        await ask(api, "owner-key", input=7),
    ]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(ids)) == len(ids)
    sdk = AsyncOpenAI(base_url=f"{api.base_url}/v1", api_key="owner-key")
    response = await sdk.responses.create(model="fake", input="x", extra_headers={"X-Request-Id": "mine-1"})
    assert response._request_id == "mine-1"


async def test_a_sockets_handshake_has_a_request_id_too(api: httpx.AsyncClient) -> None:
    headers = {**bearer("owner-key"), "X-Request-Id": "mine-2"}
    url = f"ws://127.0.0.1:{api.base_url.port}/v1/responses"
    async with websockets.connect(url, additional_headers=headers, proxy=None) as connection:
        assert connection.response is not None
        assert connection.response.headers["x-request-id"] == "mine-2"
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(url, additional_headers={**headers, **bearer("wrong")}, proxy=None)
    assert refused.value.response.status_code == 401
    assert refused.value.response.headers["x-request-id"] == "mine-2"


@pytest.mark.parametrize("given", ["a b", "x" * 200, "", '{"a":1}', "-", "é"])
async def test_a_request_id_that_is_not_sane_is_replaced(api: httpx.AsyncClient, given: str) -> None:
    answer = await api.get("/healthz", headers=[(b"x-request-id", given.encode())])
    assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.campaign
async def test_the_request_id_is_in_the_logs(stack: Stack, api: httpx.AsyncClient) -> None:
    id = f"look-for-{secrets.token_hex(4)}"
    stack.signal("temporal", 9)  # type: ignore[arg-type]
    await asyncio.to_thread(stack.processes["temporal"].wait)
    headers = {**bearer("owner-key"), "X-Request-Id": id}
    answer = await api.get(f"/v1/responses/{new_id('resp_')}", headers=headers)
    assert (answer.status_code, answer.headers["x-request-id"]) == (503, id)
    await stack.heal()
    assert any(id in log.read_text() for log in (stack.data / "logs").glob("api-*.log"))


# --- browsers


PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}


async def test_cors_is_closed_by_default(api: httpx.AsyncClient) -> None:
    origin = {"Origin": "https://app.example"}
    for answer in (
        await api.get("/v1/models", headers={**bearer("owner-key"), **origin}),
        await api.options("/v1/responses", headers={**origin, **PREFLIGHT}),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.campaign
async def test_cors_is_open_to_the_origins_that_are_named(stack: Stack) -> None:
    origins = "https://app.example, https://other.example"
    async with keyed_api(stack, key_block("t", "k", "requests_per_minute = 9"), CORS_ORIGINS=origins) as client:
        preflight = await client.options("/v1/responses", headers={"Origin": "https://app.example", **PREFLIGHT})
        assert preflight.headers["access-control-allow-origin"] == "https://app.example"
        assert "authorization" in preflight.headers["access-control-allow-headers"]
        answer = await client.get("/v1/models", headers={**bearer("k"), "Origin": "https://other.example"})
        assert answer.headers["access-control-allow-origin"] == "https://other.example"
        stranger = await client.get("/v1/models", headers={**bearer("k"), "Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in stranger.headers
