"""`/v1/webhook_endpoints`: the endpoints of the caller's API key, in OpenAI's shape.

An endpoint is kept with its key (`workflows/api_keys.py`), so a flush of Redis loses none, and a key that is revoked
takes its endpoints along. The endpoints of a key in the configuration file are in the file, and are listed here.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TypeVar

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response
from temporalio.client import WorkflowQueryFailedError, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from api.app_state import AppState
from api.auth import Caller
from api.body import read_model
from api.dependencies import AuthenticatedCaller, State
from api.key_ring import RingKey
from api.paging import check_names, list_object, page_limit, unknown_cursor
from api.webhooks.addresses import check_address
from api.webhooks.bodies import CreateWebhookEndpoint, RotateWebhookSecret, TestWebhookEndpoint, UpdateWebhookEndpoint
from open_responses.api_keys.state import KEYS_FULL, ChangeKey, StoredKey
from open_responses.config_tables.api_keys import ApiKeyConfig
from open_responses.errors import Conflict, InvalidRequest, NotFound, Unavailable
from open_responses.io.temporal.client import TemporalDown
from open_responses.io.temporal.webhook_deliveries import start_deliveries
from open_responses.json_types import JsonObject
from open_responses.schema.validation import RequestObject
from open_responses.schema.webhooks import WEBHOOK_EVENTS
from open_responses.webhooks.deliveries import TEST_DATA_ID, Delivery, event_id
from open_responses.webhooks.endpoints import EndpointSecret, StoredEndpoint, WebhookConfig, WebhookTarget
from open_responses.webhooks.signing import hint_of, new_webhook_secret

router = APIRouter(prefix="/v1")

_MOST_BYTES = 64 * 1024
_AGAIN_SECONDS = 5.0
_OLD_SECRET_SECONDS = 24 * 3600
# Beside the time that the attempt itself may take.
_TEST_PATIENCE_SECONDS = 10.0

Body = TypeVar("Body", bound=RequestObject)


@router.get("/webhook_event_types")
async def list_event_types(caller: AuthenticatedCaller) -> Response:
    """The types of events that an endpoint can get."""
    return _json({"object": "list", "data": list(WEBHOOK_EVENTS)})


@router.get("/webhook_endpoints")
async def list_endpoints(request: Request, state: State, caller: AuthenticatedCaller) -> Response:
    """The endpoints of the caller's key, newest first, then those of the configuration file."""
    query = request.query_params
    check_names(query, frozenset({"limit", "after"}))
    limit, after = page_limit(query.get("limit")), query.get("after")
    rows = [] if caller.key is None else _all_shown(state, caller.key)
    if after is not None:
        ids = [row["id"] for row in rows]
        if after not in ids:
            raise unknown_cursor()
        rows = rows[ids.index(after) + 1 :]
    return _json(list_object(rows[:limit], has_more=len(rows) > limit))


@router.post("/webhook_endpoints")
async def create_endpoint(request: Request, state: State, caller: AuthenticatedCaller) -> Response:
    """Create an endpoint. The answer has its secret, which no later one has."""
    given = await read_model(CreateWebhookEndpoint, request, _MOST_BYTES)
    key, stored = _changeable(state, caller)
    config = state.settings.config
    check_address(config, given.url, "url")
    most = config.webhooks.max_endpoints_per_key
    if len(stored.webhooks) >= most:
        raise Conflict(
            f"Your API key has {most} webhook endpoints, the most that it may have. Delete one.",
            code="webhook_endpoints_full",
        )
    now, id = int(time.time()), f"whe_{secrets.token_hex(12)}"
    secret, sealed = _new_secret(state, id)
    endpoint = StoredEndpoint(
        id=id,
        name=given.name,
        url=given.url,
        event_types=list(given.event_types),
        secrets=[sealed],
        created_at=now,
        updated_at=now,
    )
    changed = await _put(state, key, id, endpoint)
    return _json({**_shown(changed), "signing_secret": secret})


@router.get("/webhook_endpoints/{webhook_endpoint_id}")
async def get_endpoint(webhook_endpoint_id: str, state: State, caller: AuthenticatedCaller) -> Response:
    """One endpoint, without its secret."""
    rows = [] if caller.key is None else _all_shown(state, caller.key)
    found = next((row for row in rows if row["id"] == webhook_endpoint_id), None)
    if found is None:
        raise _unknown()
    return _json(found)


@router.post("/webhook_endpoints/{webhook_endpoint_id}")
async def update_endpoint(
    request: Request, webhook_endpoint_id: str, state: State, caller: AuthenticatedCaller
) -> Response:
    """Change what is given, and leave the rest. Deliveries that wait go to the address that they began with. An
    address, also the same one, enables an endpoint that its receiver has disabled."""
    given = await read_model(UpdateWebhookEndpoint, request, _MOST_BYTES)
    key, endpoint = _stored(state, caller, webhook_endpoint_id)
    values = {name: getattr(given, name) for name in ("name", "url", "event_types")}
    values = {name: value for name, value in values.items() if value is not None}
    if given.url is not None:
        check_address(state.settings.config, given.url, "url")
        values["disabled_at"] = None
    after = endpoint.model_copy(update=values)
    if after != endpoint:
        after = await _put(state, key, endpoint.id, after.model_copy(update={"updated_at": int(time.time())}))
    return _json(_shown(after))


@router.delete("/webhook_endpoints/{webhook_endpoint_id}")
async def delete_endpoint(webhook_endpoint_id: str, state: State, caller: AuthenticatedCaller) -> Response:
    """Delete an endpoint. Its deliveries that wait fail with their next attempt."""
    key, endpoint = _stored(state, caller, webhook_endpoint_id)
    await _change(state, key, {endpoint.id: None})
    return _json({"id": endpoint.id, "object": "webhook_endpoint.deleted", "deleted": True})


@router.post("/webhook_endpoints/{webhook_endpoint_id}/rotate_secret")
async def rotate_secret(
    request: Request, webhook_endpoint_id: str, state: State, caller: AuthenticatedCaller
) -> Response:
    """Replace the secret. The old one signs beside the new one for 24 hours, if the request asks for that."""
    given = await read_model(RotateWebhookSecret, request, _MOST_BYTES, may_be_empty=True)
    key, endpoint = _stored(state, caller, webhook_endpoint_id)
    now = int(time.time())
    secret, sealed = _new_secret(state, endpoint.id)
    kept = []
    if given.keep_old_secret_active_for_24_hours:
        # The present one alone: a secret that was replaced before stays as it was, and two sign at the most.
        kept = [endpoint.secrets[0].model_copy(update={"expires_at": now + _OLD_SECRET_SECONDS})]
    after = endpoint.model_copy(update={"secrets": [sealed, *kept], "updated_at": now})
    changed = await _put(state, key, endpoint.id, after)
    return _json({**_shown(changed), "signing_secret": secret})


@router.post("/webhook_endpoints/{webhook_endpoint_id}/test")
async def test_endpoint(
    request: Request, webhook_endpoint_id: str, state: State, caller: AuthenticatedCaller
) -> Response:
    """Send one event of this type now, whose response does not exist, and return the receiver's status."""
    given = await read_model(TestWebhookEndpoint, request, _MOST_BYTES)
    targets = [] if caller.key is None else _ring_key(state, caller.key).webhook_targets(with_disabled=True)
    target = next((one for one in targets if one.endpoint_id == webhook_endpoint_id), None)
    if target is None:
        raise _unknown()
    done = await _delivered(state, _test_delivery(caller.tenant, target, given.event_type))
    attempt = done.attempts[-1]
    if attempt.status is None:
        raise InvalidRequest(
            f"The endpoint did not answer ({attempt.error}). Check its address, and that it can be reached from this "
            "server. The attempts are in GET /v1/webhook_deliveries.",
            code="webhook_not_answered",
        )
    return _json(
        {
            "object": "webhook_endpoint.test",
            "webhook_endpoint_id": webhook_endpoint_id,
            "event_type": given.event_type,
            "status_code": attempt.status,
            "success": True,
            "delivery_id": done.id,
        }
    )


# --- what they have in common


def _test_delivery(tenant: str, target: WebhookTarget, kind: str) -> Delivery:
    number = secrets.token_hex(32)
    return Delivery(
        id=f"whd_{number}",
        event_id=event_id(number, kind),
        type=kind,
        created_at=int(time.time()),
        data={"id": TEST_DATA_ID},
        tenant=tenant,
        target=target,
        is_single=True,
    )


async def _delivered(state: AppState, delivery: Delivery) -> Delivery:
    """The delivery after its only attempt. Raises Unavailable where no worker makes it in time."""
    handle = state.temporal.get_workflow_handle(delivery.id, result_type=Delivery)
    patience = state.settings.config.webhooks.timeout_seconds + _TEST_PATIENCE_SECONDS
    try:
        await start_deliveries(state.temporal, [delivery])
        async with asyncio.timeout(patience):
            done: Delivery = await handle.result()
            return done
    except (TimeoutError, *TemporalDown) as error:
        raise Unavailable(
            "No worker sent the test event in time. Send your request again.", retry_after=_AGAIN_SECONDS
        ) from error


def _ring_key(state: AppState, key: ApiKeyConfig) -> RingKey:
    return state.keys.find(key.sha256) or RingKey(key)


def _all_shown(state: AppState, key: ApiKeyConfig) -> list[JsonObject]:
    found = _ring_key(state, key)
    stored = [] if found.stored is None else found.stored.webhooks[::-1]
    return [_shown(one) for one in stored] + [_shown_of_file(one, key.id) for one in key.webhooks]


def _changeable(state: AppState, caller: Caller) -> tuple[ApiKeyConfig, StoredKey]:
    """The caller's key, whose endpoints it may change. Raises Conflict for a key of the file, and for none."""
    if caller.key is None:
        raise Conflict(
            "This server has no API keys, and an endpoint belongs to one. Send 'webhook' with each request instead.",
            code="no_api_key",
        )
    stored = _ring_key(state, caller.key).stored
    if stored is None:
        raise Conflict(
            "Your API key is in the server's configuration file, and so are its webhook endpoints. Ask the operator "
            "for an [[api_keys.webhooks]] table, or send 'webhook' with each request.",
            code="api_key_in_file",
        )
    return caller.key, stored


def _stored(state: AppState, caller: Caller, id: str) -> tuple[ApiKeyConfig, StoredEndpoint]:
    """An endpoint that may be changed. Raises NotFound; Conflict for one of the file."""
    if caller.key is None:
        raise _unknown()
    stored = _ring_key(state, caller.key).stored
    found = next((one for one in stored.webhooks if one.id == id), None) if stored is not None else None
    if found is None:
        if any(one.id_for(caller.key.id) == id for one in caller.key.webhooks):
            raise Conflict(
                "This endpoint is in the server's configuration file. Ask the operator to change it there.",
                code="api_key_in_file",
            )
        raise _unknown()
    return caller.key, found


async def _put(state: AppState, key: ApiKeyConfig, id: str, endpoint: StoredEndpoint) -> StoredEndpoint:
    changed = await _change(state, key, {id: endpoint.model_dump(mode="json")})
    found = next((one for one in changed.webhooks if one.id == id), None)
    if found is None:
        # A worker of an earlier version has answered.
        raise Unavailable("The endpoint was not stored. Send your request again.", retry_after=_AGAIN_SECONDS)
    return found


async def _change(state: AppState, key: ApiKeyConfig, endpoints: dict[str, JsonObject | None]) -> StoredKey:
    call = ChangeKey(id=key.id, values={"webhooks": dict(endpoints)}, by=key.id, at=time.time())
    try:
        return await state.runtime_keys.change(call)
    except WorkflowUpdateFailedError as error:
        cause = error.cause
        if isinstance(cause, ApplicationError) and cause.type == KEYS_FULL:
            raise Conflict(cause.message, code=KEYS_FULL) from None
        raise Unavailable(
            "The endpoint could not be changed. Send your request again.", retry_after=_AGAIN_SECONDS
        ) from error
    except (TimeoutError, WorkflowQueryFailedError, RPCError, *TemporalDown) as error:
        raise Unavailable(
            "It is not known whether your change was made: no worker has confirmed it. GET /v1/webhook_endpoints shows "
            "what is in force.",
            retry_after=_AGAIN_SECONDS,
        ) from error


def _new_secret(state: AppState, endpoint_id: str) -> tuple[str, EndpointSecret]:
    secret = new_webhook_secret()
    sealed = state.sealer.seal(secret.encode(), bound_to=endpoint_id)
    return secret, EndpointSecret(sealed=sealed, hint=hint_of(secret))


def _unknown() -> NotFound:
    return NotFound(
        "Your API key has no webhook endpoint with this id. GET /v1/webhook_endpoints lists those that it has.",
        param="webhook_endpoint_id",
    )


def _shown(endpoint: StoredEndpoint) -> JsonObject:
    return {
        "object": "webhook_endpoint",
        "id": endpoint.id,
        "name": endpoint.name,
        "url": endpoint.url,
        "event_types": endpoint.event_types or list(WEBHOOK_EVENTS),
        "signing_secret_hint": endpoint.secrets[0].hint if endpoint.secrets else None,
        "created_at": endpoint.created_at,
        "updated_at": endpoint.updated_at,
        "source": "runtime",
        "status": "enabled" if endpoint.disabled_at is None else "disabled",
    }


def _shown_of_file(endpoint: WebhookConfig, key_id: str) -> JsonObject:
    return {
        "object": "webhook_endpoint",
        "id": endpoint.id_for(key_id),
        "name": "of the configuration file",
        "url": endpoint.url,
        "event_types": list(endpoint.events or WEBHOOK_EVENTS),
        "signing_secret_hint": None,
        "created_at": 0,
        "updated_at": None,
        "source": "file",
        "status": "enabled",
    }


def _json(body: JsonObject) -> JSONResponse:
    return JSONResponse(body, headers={"Cache-Control": "no-store"})
