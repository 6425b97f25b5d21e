"""`/v1/admin/keys`: the API keys, created, listed, changed and revoked by an operator while the server runs."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Mapping
from typing import TypeVar

import structlog
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response
from temporalio.client import WorkflowQueryFailedError, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from api.admin.bodies import ChangeKeyBody, CreateKeyBody
from api.app_state import AppState
from api.auth import Caller
from api.body import read_model
from api.dependencies import AdminCaller, State
from api.key_ring import RingKey
from api.paging import check_names, list_object, page_limit, unknown_cursor
from open_responses.api_keys.limits import LIMITS
from open_responses.api_keys.state import (
    INVALID_VALUE,
    KEY_NOT_FOUND,
    KEY_REVOKED,
    KEYS_FULL,
    ChangeKey,
    ChangeRecord,
    ChangesQuery,
    CreateKey,
    RevokeKey,
    StoredKey,
    new_secret,
)
from open_responses.config_tables.api_keys import key_id
from open_responses.errors import Conflict, InvalidRequest, NotFound, OpenResponsesError, Unavailable
from open_responses.io.temporal.client import TemporalDown
from open_responses.json_types import JsonObject

log = structlog.get_logger(__name__)

router = APIRouter(prefix="/v1/admin/keys")

_MOST_BYTES = 256 * 1024
_AGAIN_SECONDS = 5.0

Body = TypeVar("Body", bound=ChangeKeyBody)


@router.get("")
async def list_keys(request: Request, state: State, caller: AdminCaller) -> Response:
    """Every key, newest first, then those of the configuration file. `tenant`: of this tenant alone."""
    query = request.query_params
    check_names(query, frozenset({"tenant", "limit", "after"}))
    limit, tenant = page_limit(query.get("limit")), query.get("tenant")
    keys = [key for key in _all(state) if tenant is None or key.config.tenant == tenant]
    ids = [key.config.id for key in keys]
    after = query.get("after")
    if after is not None:
        if after not in ids:
            raise unknown_cursor()
        keys = keys[ids.index(after) + 1 :]
    page = keys[:limit]
    uses = await state.runtime_keys.last_uses([key.config.id for key in page])
    return _json(list_object([_resource(key, uses) for key in page], has_more=len(keys) > limit))


@router.post("")
async def create_key(request: Request, state: State, caller: AdminCaller) -> Response:
    """Create a key. The answer is the only one that has the key itself."""
    given = await read_model(CreateKeyBody, request, _MOST_BYTES)
    now, values = time.time(), given.values(state.settings.config)
    by = _maker(state, caller)
    if given.expires_at is not None and given.expires_at <= now:
        raise InvalidRequest(
            "'expires_at' must be in the future, in Unix seconds.", param="expires_at", code="invalid_value"
        )
    secret, sha256, prefix = new_secret()
    limits = values.pop("limits", None) or {}
    assert isinstance(limits, dict)
    key = StoredKey.model_validate(
        {
            **values,
            "id": key_id(sha256),
            "sha256": sha256,
            "prefix": prefix,
            "tenant": given.tenant,
            "created_at": int(now),
            "limits": {name: value for name, value in limits.items() if value is not None},
        }
    )
    created = await _changed(state.runtime_keys.create(CreateKey(key=key, by=by, at=now)))
    _log("created", created, by, sorted(values))
    return _json({**_resource(RingKey(created.config(), created), {}), "key": secret}, status=201)


@router.get("/audit")
async def list_changes(request: Request, state: State, caller: AdminCaller) -> Response:
    """Every change of a key, newest first."""
    asked = request.query_params
    check_names(asked, frozenset({"limit", "after"}))
    query = ChangesQuery(limit=page_limit(asked.get("limit")), after=asked.get("after"))
    try:
        page = await state.runtime_keys.changes(query)
    except (WorkflowQueryFailedError, *TemporalDown) as error:
        raise Unavailable("The changes cannot be read at this moment. Send your request again.") from error
    if not page.knows_after:
        raise unknown_cursor()
    known = {key.config.id: key for key in _all(state)}
    rows = [_change(change, known) for change in page.changes]
    return _json(list_object(rows, has_more=page.has_more))


@router.get("/{key_id}")
async def get_key(key_id: str, state: State, caller: AdminCaller) -> Response:
    """One key, without the key itself."""
    return _json(await _shown(state, _known(state, key_id)))


@router.post("/{key_id}")
async def change_key(request: Request, key_id: str, state: State, caller: AdminCaller) -> Response:
    """Change what is given, and leave the rest as it is. An `expires_at` that has passed ends the key at once."""
    given = await read_model(ChangeKeyBody, request, _MOST_BYTES)
    values, by = given.values(state.settings.config), _maker(state, caller)
    _check_made_here(_known(state, key_id))
    changed = await _changed(state.runtime_keys.change(ChangeKey(id=key_id, values=values, by=by, at=time.time())))
    _log("changed", changed, by, sorted(values))
    return _json(await _shown(state, RingKey(changed.config(), changed)))


@router.delete("/{key_id}")
async def revoke_key(key_id: str, state: State, caller: AdminCaller) -> Response:
    """Revoke a key for good. One that is revoked already is returned unchanged."""
    by = _maker(state, caller)
    _check_made_here(_known(state, key_id))
    revoked = await _changed(state.runtime_keys.revoke(RevokeKey(id=key_id, by=by, at=time.time())))
    _log("revoked", revoked, by, [])
    return _json(await _shown(state, RingKey(revoked.config(), revoked)))


# --- what they have in common


def _all(state: AppState) -> list[RingKey]:
    keys = list(state.keys.by_hash.values())
    stored = [key for key in keys if key.stored is not None]
    return [*stored[::-1], *(key for key in keys if key.stored is None)]


def _known(state: AppState, id: str) -> RingKey:
    found = next((key for key in _all(state) if key.config.id == id), None)
    if found is None:
        raise _unknown(id)
    return found


def _unknown(id: str) -> NotFound:
    return NotFound(f"API key with id {id[:80]!r} not found. GET /v1/admin/keys lists the keys.", param="key_id")


def _check_made_here(key: RingKey) -> None:
    if key.stored is None:
        raise Conflict(
            "This key is in the configuration file. Change or remove its [[api_keys]] table there: the server notices.",
            code="api_key_in_file",
        )


def _maker(state: AppState, caller: Caller) -> str:
    """The id of the operator's key. Raises Conflict for a server that needs no key: a key would be of no use there."""
    if caller.key is None:
        raise Conflict(
            'This server needs no key, so it makes none. Put an [[api_keys]] table with scopes = ["admin"] into its '
            "configuration file first (`python -m open_responses keys add TENANT` prints one), and use that key.",
            code="no_admin_key",
        )
    return caller.key.id


async def _changed(change: Awaitable[StoredKey]) -> StoredKey:
    """Raises NotFound and Conflict for what the keys refuse, and Unavailable where no worker answers in time."""
    try:
        return await change
    except WorkflowUpdateFailedError as error:
        raise _refusal(error) from None
    except (TimeoutError, WorkflowQueryFailedError, *TemporalDown) as error:
        raise Unavailable(
            "It is not known whether your change was made: no worker has confirmed it. GET /v1/admin/keys shows what "
            "is in force. A key that was created like this is of no use to anybody: revoke it.",
            retry_after=_AGAIN_SECONDS,
        ) from error
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            raise NotFound("There is no such API key. GET /v1/admin/keys lists the keys.", param="key_id") from None
        raise


def _refusal(error: WorkflowUpdateFailedError) -> OpenResponsesError:
    cause = error.cause
    if isinstance(cause, ApplicationError):
        if cause.type == KEY_NOT_FOUND:
            return NotFound(f"{cause.message} GET /v1/admin/keys lists the keys.", param="key_id")
        if cause.type == KEYS_FULL:
            return Conflict(cause.message, code=KEYS_FULL)
        if cause.type == KEY_REVOKED:
            return Conflict(cause.message, code=KEY_REVOKED)
        if cause.type == INVALID_VALUE:
            return InvalidRequest(cause.message, code=INVALID_VALUE)
    return Unavailable("The key could not be changed. Send your request again.", retry_after=_AGAIN_SECONDS)


async def _shown(state: AppState, key: RingKey) -> JsonObject:
    return _resource(key, await state.runtime_keys.last_uses([key.config.id]))


def _resource(key: RingKey, uses: Mapping[str, int]) -> JsonObject:
    config, stored = key.config, key.stored
    return {
        "object": "api_key",
        "id": config.id,
        "name": stored and stored.name,
        "tenant": config.tenant,
        "scopes": list(config.scopes),
        "models": list(config.models),
        "tools": list(config.tools),
        "limits": {name: getattr(config, name, None) for name in LIMITS},
        "weight": config.weight,
        "created_at": stored and stored.created_at,
        "expires_at": stored and stored.expires_at,
        "revoked_at": stored and stored.revoked_at,
        "last_used_at": uses.get(config.id),
        "source": "file" if stored is None else "runtime",
        "prefix": stored and stored.prefix,
    }


def _change(change: ChangeRecord, known: Mapping[str, RingKey]) -> JsonObject:
    """A line of the audit log, with the names that the two keys have now; null for a key that is not there any more."""
    key, maker = known.get(change.key_id), known.get(change.by)
    return {
        "object": "api_key.change",
        **change.model_dump(mode="json"),
        "key_name": key and key.stored and key.stored.name,
        "by_tenant": maker and maker.config.tenant,
        "by_name": maker and maker.stored and maker.stored.name,
    }


def _log(action: str, key: StoredKey, by: str, fields: list[str]) -> None:
    log.info("api_key_changed", action=action, key=key.id, tenant=key.tenant, by=by, fields=fields)


def _json(body: JsonObject, *, status: int = 200) -> JSONResponse:
    return JSONResponse(body, status_code=status, headers={"Cache-Control": "no-store"})
