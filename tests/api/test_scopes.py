"""What a key may not ask for it gets nowhere: each endpoint has a row of what is checked, and each row is tried."""

from __future__ import annotations

import json
import os
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.routing import BaseRoute
from websockets.asyncio.client import connect

from api.application import create_app
from api.openai_forms import PREFIX
from open_responses.io.settings import Settings
from tests.support.api_with_keys import api_of_the_module, bearer, key_block
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.responses_http import is_error
from tests.support.stack import until

MODEL_AND_TOOLS = "the request's model and tools"
TOOLS_AND_MODEL_IF_GIVEN = "its tools, and its model if it has one"
OF_THE_RESPONSE = "model and tools of the response"
SHOWN = "shows what the key may use alone"
STORED = "nothing: it is the tenant's, and nothing runs"
NO_TENANT = "nothing: no tenant has a part in it"
OPERATORS = "the scope admin"
OF_THE_SCHEDULE = "model and tools of the request inside: test_schedule_owners.py"
SCHEDULED = "model and tools of the request that the schedule has: test_schedule_owners.py"
OF_THE_KEY = "nothing: it is the key's own, and what is sent has no content"
AS_THE_CALLER = "its requests are the caller's, each with the checks of its own"

ROWS = {
    ("POST", "/v1/responses"): MODEL_AND_TOOLS,
    ("WEBSOCKET", "/v1/responses"): MODEL_AND_TOOLS,
    ("POST", "/v1/responses/compact"): MODEL_AND_TOOLS,
    ("POST", "/v1/responses/input_tokens"): TOOLS_AND_MODEL_IF_GIVEN,
    ("POST", "/v1/responses/{response_id}/approvals"): OF_THE_RESPONSE,
    ("POST", "/v1/responses/{response_id}/steer"): OF_THE_RESPONSE,
    ("GET", "/v1/models"): SHOWN,
    ("GET", "/v1/models/{model:path}"): SHOWN,
    ("GET", "/v1/responses/{response_id}"): STORED,
    ("DELETE", "/v1/responses/{response_id}"): STORED,
    ("POST", "/v1/responses/{response_id}/cancel"): STORED,
    ("GET", "/v1/responses/{response_id}/input_items"): STORED,
    ("GET", "/v1/responses/{response_id}/timeline"): STORED,
    ("GET", "/v1/responses"): STORED,
    ("GET", "/v1/approvals"): STORED,
    ("GET", "/v1/webhook_event_types"): NO_TENANT,
    **{
        (method, f"/v1/webhook_endpoints{path}"): OF_THE_KEY
        for method, path in (
            ("GET", ""),
            ("POST", ""),
            ("GET", "/{webhook_endpoint_id}"),
            ("POST", "/{webhook_endpoint_id}"),
            ("DELETE", "/{webhook_endpoint_id}"),
            ("POST", "/{webhook_endpoint_id}/rotate_secret"),
            ("POST", "/{webhook_endpoint_id}/test"),
        )
    },
    ("POST", "/v1/schedules"): OF_THE_SCHEDULE,
    ("POST", "/v1/schedules/{schedule_id}"): OF_THE_SCHEDULE,
    ("POST", "/v1/schedules/{schedule_id}/trigger"): SCHEDULED,
    ("POST", "/v1/schedules/{schedule_id}/resume"): SCHEDULED,
    ("POST", "/v1/schedules/{schedule_id}/pause"): STORED,
    ("GET", "/v1/schedules"): STORED,
    ("GET", "/v1/schedules/{schedule_id}"): STORED,
    ("GET", "/v1/schedules/{schedule_id}/runs"): STORED,
    ("DELETE", "/v1/schedules/{schedule_id}"): STORED,
    ("GET", "/v1/webhook_deliveries"): STORED,
    ("GET", "/v1/webhook_deliveries/{delivery_id}"): STORED,
    ("POST", "/v1/webhook_deliveries/{delivery_id}/replay"): STORED,
    ("GET", "/v1/admin/health"): OPERATORS,
    ("GET", "/v1/admin/refusals"): OPERATORS,
    ("GET", "/metrics"): OPERATORS,
    ("GET", "/"): NO_TENANT,
    ("HEAD", "/"): NO_TENANT,
    ("GET", "/console/{path:path}"): NO_TENANT,
    ("HEAD", "/console/{path:path}"): NO_TENANT,
    ("GET", "/console/info"): NO_TENANT,
    ("GET", "/console/offers"): NO_TENANT,
    ("GET", "/console/conformance"): NO_TENANT,
    ("POST", "/console/conformance"): AS_THE_CALLER,
    ("POST", "/console/kill-workers"): NO_TENANT,
    ("POST", "/v1/conversations"): STORED,
    ("POST", "/v1/files"): STORED,
    ("GET", "/v1/files"): STORED,
    ("GET", "/v1/files/{file_id}"): STORED,
    ("GET", "/v1/files/{file_id}/content"): STORED,
    ("DELETE", "/v1/files/{file_id}"): STORED,
    **{
        (method, f"/v1/containers{path}"): STORED
        for method, path in (
            ("POST", ""),
            ("GET", ""),
            ("GET", "/{container_id}"),
            ("DELETE", "/{container_id}"),
            ("POST", "/{container_id}/files"),
            ("GET", "/{container_id}/files"),
            ("GET", "/{container_id}/files/{file_id}"),
            ("DELETE", "/{container_id}/files/{file_id}"),
            ("GET", "/{container_id}/files/{file_id}/content"),
        )
    },
    ("POST", "/v1/vector_stores"): STORED,
    ("GET", "/v1/vector_stores"): STORED,
    ("GET", "/v1/vector_stores/{vector_store_id}"): STORED,
    ("POST", "/v1/vector_stores/{vector_store_id}"): STORED,
    ("DELETE", "/v1/vector_stores/{vector_store_id}"): STORED,
    ("POST", "/v1/vector_stores/{vector_store_id}/search"): STORED,
    ("POST", "/v1/vector_stores/{vector_store_id}/files"): STORED,
    ("GET", "/v1/vector_stores/{vector_store_id}/files"): STORED,
    ("GET", "/v1/vector_stores/{vector_store_id}/files/{file_id}"): STORED,
    ("POST", "/v1/vector_stores/{vector_store_id}/files/{file_id}"): STORED,
    ("DELETE", "/v1/vector_stores/{vector_store_id}/files/{file_id}"): STORED,
    ("GET", "/v1/vector_stores/{vector_store_id}/files/{file_id}/content"): STORED,
    ("POST", "/v1/vector_stores/{vector_store_id}/file_batches"): STORED,
    ("GET", "/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}"): STORED,
    ("POST", "/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}/cancel"): STORED,
    ("GET", "/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}/files"): STORED,
    ("GET", "/v1/conversations/{conversation_id}"): STORED,
    ("POST", "/v1/conversations/{conversation_id}"): STORED,
    ("DELETE", "/v1/conversations/{conversation_id}"): STORED,
    ("GET", "/v1/conversations/{conversation_id}/items"): STORED,
    ("POST", "/v1/conversations/{conversation_id}/items"): STORED,
    ("GET", "/v1/conversations/{conversation_id}/items/{item_id}"): STORED,
    ("DELETE", "/v1/conversations/{conversation_id}/items/{item_id}"): STORED,
    ("GET", "/v1/usage"): STORED,
    ("GET", "/v1/admin/keys"): OPERATORS,
    ("POST", "/v1/admin/keys"): OPERATORS,
    ("GET", "/v1/admin/keys/audit"): OPERATORS,
    ("GET", "/v1/admin/keys/{key_id}"): OPERATORS,
    ("POST", "/v1/admin/keys/{key_id}"): OPERATORS,
    ("DELETE", "/v1/admin/keys/{key_id}"): OPERATORS,
    ("GET", "/healthz"): NO_TENANT,
    ("HEAD", "/healthz"): NO_TENANT,
    ("GET", "/readyz"): NO_TENANT,
    ("HEAD", "/readyz"): NO_TENANT,
    ("GET", "/openapi.json"): NO_TENANT,
    ("GET", "/docs"): NO_TENANT,
    ("POST", "/codec/decode"): NO_TENANT,
    ("POST", "/codec/encode"): NO_TENANT,
    ("POST", "/codec/{token:path}/decode"): NO_TENANT,
    ("POST", "/codec/{token:path}/encode"): NO_TENANT,
}
DELETES = [{"type": "function", "name": "delete_all"}]
BROAD, NARROW = bearer("scopes-broad"), bearer("scopes-narrow")


api = api_of_the_module(
    key_block("scopes", "scopes-broad"),
    key_block("scopes", "scopes-narrow", 'models = ["fake"]', 'tools = ["get_weather"]'),
)


def routes(app: FastAPI) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    waiting: list[BaseRoute] = list(app.routes)
    while waiting:
        route = waiting.pop()
        if isinstance(route, APIWebSocketRoute):
            found.add(("WEBSOCKET", route.path))
        elif isinstance(route, APIRoute):
            found |= {(method, route.path) for method in route.methods}
        else:
            path, methods = getattr(route, "path", None), getattr(route, "methods", None)
            # FastAPI keeps an included router as it is.
            inner = getattr(getattr(route, "original_router", route), "routes", None)
            if inner:
                waiting += inner
            elif path and methods:
                found |= {(method, path) for method in methods}
    return found


def test_every_route_has_a_row() -> None:
    """A new endpoint says here what a key's scopes mean for it."""
    app = create_app(Settings())
    missing = routes(app) - ROWS.keys() - {("HEAD", "/docs"), ("HEAD", "/redoc"), ("GET", "/redoc")}
    assert {one for one in missing if not one[1].startswith("/docs")} == set()
    assert ROWS.keys() <= routes(app)


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"model": "no-resume"}, "model"),
        ({"model": "fake", "tools": DELETES}, "tools"),
        ({"model": "fake", "tools": [{"type": "open_responses:hosted_tools"}]}, "tools"),
        ({"model": "fake", "tools": [{"type": "mcp", "server_label": "calc"}]}, "tools[0]"),
    ],
)
@pytest.mark.parametrize(
    "row",
    [
        (method, prefix + path)
        for (method, path), check in ROWS.items()
        for prefix in ("", PREFIX)
        if check in (MODEL_AND_TOOLS, TOOLS_AND_MODEL_IF_GIVEN)
    ],
)
async def test_what_a_key_may_not_ask_for_is_refused(
    api: httpx.AsyncClient, row: tuple[str, str], asked: dict[str, Any], param: str
) -> None:
    method, path = row
    body = {"input": "beyond my scopes", **asked}
    if path.endswith("compact") and "tools" in asked:
        body.pop("tools")
        body["model"], param = "no-resume", "model"
    if method == "WEBSOCKET":
        url = f"ws://127.0.0.1:{api.base_url.port}{path}"
        async with connect(url, additional_headers=NARROW) as socket:
            await socket.send(json.dumps({"type": "response.create", **body}))
            told = json.loads(await socket.recv())
        assert (told["status"], told["error"]["code"], told["error"]["param"]) == (403, "permission_denied", param)
        return
    is_error(await api.request(method, path, json=body, headers=NARROW), 403, "permission_denied", param)


async def test_tokens_are_counted_without_a_model(api: httpx.AsyncClient) -> None:
    answer = await api.post("/v1/responses/input_tokens", json={"input": "hello"}, headers=NARROW)
    assert answer.status_code == 200
    body = {"input": "hello", "tools": DELETES}
    answer = await api.post("/v1/responses/input_tokens", json=body, headers=NARROW)
    is_error(answer, 403, "permission_denied", "tools")


@pytest.mark.parametrize("approve", [True, False])
async def test_an_approval_or_a_message_is_of_those_who_may_ask_for_the_tool(
    api: httpx.AsyncClient, upstream: Upstream, approve: bool
) -> None:
    prompt = f"delete by scope {approve}"
    wanted = calls(("c", "delete_all", {"what": prompt}))
    upstream.says(prompt, wanted).turns.append(Script(words=2))
    body = {"model": "fake", "input": prompt, "tools": DELETES, "background": True}
    begun = (await api.post("/v1/responses", json=body, headers=BROAD)).json()
    url = f"/v1/responses/{begun['id']}"

    async def now() -> dict[str, Any]:
        found: dict[str, Any] = (await api.get(url, headers=NARROW)).json()
        return found

    async def asks() -> bool:
        return [item["type"] for item in (await now())["output"]] == ["mcp_approval_request"]

    await until(asks)
    answer = {"approval_request_id": (await now())["output"][0]["id"], "approve": approve}
    refused = await api.post(f"{url}/approvals", json=answer, headers=NARROW)
    is_error(refused, 403, "permission_denied", "tools")
    steered = await api.post(f"{url}/steer", json={"input": "delete more"}, headers=NARROW)
    is_error(steered, 403, "permission_denied", "tools")
    assert (await now())["status"] == "in_progress"
    assert (await api.post(f"{url}/approvals", json=answer, headers=BROAD)).status_code == 200

    async def has_ended() -> bool:
        return (await now())["status"] == "completed"

    await until(has_ended)


async def test_a_repeated_request_is_checked_as_well(api: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.says("repeated beyond my scopes", Script(words=1))
    body = {"model": "no-resume", "input": "repeated beyond my scopes"}
    key = {"idempotency-key": os.urandom(8).hex()}
    assert (await api.post("/v1/responses", json=body, headers={**BROAD, **key})).status_code == 200
    refused = await api.post("/v1/responses", json=body, headers={**NARROW, **key})
    is_error(refused, 403, "permission_denied", "model")


@pytest.mark.parametrize(
    "path", ["/v1/responses/", "/v1/conversations/", "/v1/responses/compact/", "/healthz/", "/docs/"]
)
async def test_nothing_is_redirected_to_the_host_that_a_request_names(api: httpx.AsyncClient, path: str) -> None:
    for method in ("GET", "POST"):
        answer = await api.request(method, path, headers={**BROAD, "host": "evil.example"})
        is_error(answer, 404, "not_found", None)
        assert "location" not in answer.headers


async def test_models_are_shown_to_those_who_may_use_them(api: httpx.AsyncClient) -> None:
    listed = (await api.get("/v1/models", headers=NARROW)).json()["data"]
    assert {model["id"] for model in listed} == {"fake"}
    assert (await api.get("/v1/models/no-resume", headers=NARROW)).status_code == 404
