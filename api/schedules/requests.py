"""The request of a schedule: checked as `POST /v1/responses` checks one, sealed, and shown without its secrets."""

from __future__ import annotations

import contextlib

import orjson

from api.app_state import AppState
from api.auth import Caller
from api.idempotency import IdempotencyKey
from api.responses.authorize import AuthorizedRequest, authorize
from api.responses.parse import ParsedRequest
from api.responses.resolve import resolve
from api.responses.routing import take_provider_key
from api.responses.validate import validate
from open_responses.errors import InvalidRequest, OpenResponsesError, PermissionDenied
from open_responses.io.sealing import SealBroken
from open_responses.json_types import JsonObject
from open_responses.schedules.payloads import ScheduleState
from open_responses.schema.requests import validate_create_response

MOST_BYTES = 64 * 1024
"""Of a request as JSON: each run has it in its history, sealed."""
_FIXED = {"stream": False, "background": True, "store": True}


def parsed_request(body: JsonObject, key: IdempotencyKey | None = None) -> ParsedRequest:
    """The request as its run sends it: a background response. Raises InvalidRequest, with a path below `request`."""
    size = len(orjson.dumps(body))
    if size > MOST_BYTES:
        raise InvalidRequest(
            f"'request' is {size} bytes long, and a scheduled request may have {MOST_BYTES}. Put what is long into a "
            "conversation, or name it by 'previous_response_id'.",
            param="request",
            code="invalid_value",
        )
    for name, value in _FIXED.items():
        if body.get(name) not in (None, value):
            raise InvalidRequest(
                f"'request.{name}' must be {str(value).lower()}: a scheduled response runs in the background, and is "
                "stored. Leave it out.",
                param=f"request.{name}",
                code="invalid_value",
            )
    whole = {name: value for name, value in body.items() if name not in _FIXED} | {"background": True}
    try:
        provider_key = take_provider_key(whole, {})
        return ParsedRequest(validate_create_response(whole), size, provider_key, key)
    except InvalidRequest as error:
        raise below_request(error) from None


async def check_request(state: AppState, caller: Caller, body: JsonObject) -> None:
    """Raises what `POST /v1/responses` would refuse the request with now. Nothing is started or counted."""
    parsed = parsed_request(body)
    try:
        authorized = authorize(state.settings.config, caller, parsed)
        await validate(state, await resolve(state, authorized))
    except OpenResponsesError as error:
        raise below_request(error) from None


async def check_may_start(state: AppState, caller: Caller, schedule: ScheduleState) -> None:
    """Raises PermissionDenied for a key that may not ask for what the schedule's request does. The runs have the scopes
    of another key then, so this one must neither start them nor choose their times.

    What else may be wrong with the request is said by its runs.
    """
    if caller.key is None or caller.key.id == schedule.key_id:
        return
    with contextlib.suppress(SealBroken):
        try:
            await check_request(state, caller, request_of(state, schedule))
        except PermissionDenied:
            raise
        except OpenResponsesError:
            pass


def authorized_request(state: AppState, caller: Caller, body: JsonObject, key: IdempotencyKey) -> AuthorizedRequest:
    """The request of a run. Raises InvalidRequest and PermissionDenied."""
    return authorize(state.settings.config, caller, parsed_request(body, key))


def below_request(error: OpenResponsesError) -> OpenResponsesError:
    """The error with its path below `request`."""
    error.param = f"request.{error.param}" if error.param else "request"
    return error


def sealed_request(state: AppState, schedule_id: str, body: JsonObject) -> str:
    return state.sealer.seal(orjson.dumps(body), bound_to=schedule_id)


def request_of(state: AppState, schedule: ScheduleState) -> JsonObject:
    """The request as it was sent. Raises SealBroken."""
    body: JsonObject = orjson.loads(state.sealer.unseal(schedule.sealed, bound_to=schedule.id))
    return body


def shown_request(state: AppState, schedule: ScheduleState) -> JsonObject | None:
    """The request without what was sent in confidence; None if it cannot be opened any more."""
    try:
        body = request_of(state, schedule)
    except SealBroken:
        return None
    body.pop("api_key", None)
    if isinstance(body.get("webhook"), dict):
        body["webhook"].pop("secret", None)
    for tool in body.get("tools") or []:
        if isinstance(tool, dict) and tool.get("type") == "mcp":
            for name in ("headers", "authorization"):
                tool.pop(name, None)
            if isinstance(tool.get("server_url"), str):
                tool["server_url"] = tool["server_url"].partition("?")[0]
    return body
