"""`POST /v1/responses/{id}/steer`: messages of the user for a response that runs.

What this prevents: a message that a client believes to be sent, and that no model reads. The answer comes once the
response's workflow has recorded the messages and will take another model turn, or has refused them.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from api.admission.scopes import check_built_ins, check_scopes
from api.admission.steers_in_flight import TooManySteers
from api.app_state import AppState
from api.auth import Caller
from api.body import read_object
from api.dependencies import AuthenticatedCaller, State
from api.idempotency import idempotency_key
from api.lookup import owned_record
from api.updates import send_update
from open_responses.config import Config
from open_responses.errors import Conflict, InvalidRequest, OpenResponsesError, RateLimited, Unavailable
from open_responses.io.files.inlined import with_heads
from open_responses.io.store.records import Record
from open_responses.io.temporal.client import TemporalDown
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.start import StartResponse
from open_responses.loop.payloads.steering import Steer
from open_responses.loop.steering import (
    KEY_REUSED,
    MAX_STEERS,
    MAX_WAITING_STEERS,
    NO_TURN_LEFT,
    NOT_FOR_FALLBACK,
    NOT_SUPPORTED,
    STEERED_TOO_LATE,
    TOO_MANY,
    TOO_MANY_WAITING,
    messages_of,
    steered_content,
)
from open_responses.models.capabilities import check_takes
from open_responses.schema.items import INPUT_ITEMS
from open_responses.schema.off_loop import off_loop
from open_responses.schema.requests import CreateResponse
from open_responses.schema.steering import MAX_STEER_BYTES, validate_steer

router = APIRouter(prefix="/v1/responses/{response_id}")

_ID_DIGITS = 32
_AGAIN_SECONDS = 5.0


@router.post("/steer")
async def steer_response(request: Request, response_id: str, state: State, caller: AuthenticatedCaller) -> Response:
    """Add messages to a running response. Returns the accepted submission."""
    body, size = await read_object(request, min(MAX_STEER_BYTES, state.settings.max_body_bytes))
    steer = await off_loop(size, steer_of, response_id, body, caller.tenant, request.headers)
    await steer_stored(state, caller, await owned_record(state, caller.reads_of, response_id), steer)
    shown = {"object": "response.steer", **reference(response_id, steer)}
    return Response(orjson.dumps(shown), media_type="application/json")


def reference(response_id: str, steer: Steer) -> JsonObject:
    """How OpenAI names a submission."""
    return {"id": steer.steer_id, "previous_response_id": response_id}


def steer_of(response_id: str, body: JsonObject, tenant: str, headers: Mapping[str, str]) -> Steer:
    """The messages of a body. With an `Idempotency-Key`, the same each time. Raises InvalidRequest."""
    messages = messages_of(validate_steer(body))
    digest = hashlib.sha256(orjson.dumps(messages, option=orjson.OPT_SORT_KEYS)).hexdigest()
    key = idempotency_key(tenant, headers, {})
    if key is None:
        own = secrets.token_hex(_ID_DIGITS // 2)
    else:
        own = hashlib.sha256(f"{response_id} {key.response_id}".encode()).hexdigest()[:_ID_DIGITS]
    return Steer(steer_id=f"steer_{own}", digest=digest, messages=messages)


async def steer_stored(state: AppState, caller: Caller, record: Record, steer: Steer) -> None:
    """Raises PermissionDenied for a key that may not ask for what the response does, and as `steer_running` does."""
    check_scopes(state.settings.config, caller.key, record.start.request)
    check_built_ins(caller.key, [tool.name for tool in record.start.built_in])
    if record.response is not None:
        _check_was_read(record, steer)
        return
    try:
        await steer_running(state, record.start, steer)
    except Conflict as error:
        if error.error_code != STEERED_TOO_LATE:
            raise
        record = await owned_record(state, caller.reads_of, record.start.response_id, decided=True)
        _check_was_read(record, steer)


async def steer_running(state: AppState, start: StartResponse, steer: Steer) -> None:
    """Send the messages to the response's workflow.

    Raises NotFound for a file that the tenant does not have, InvalidRequest for parts that the response's provider
    cannot take, Conflict or RateLimited where the workflow refuses the messages, and Unavailable where no worker
    confirms them in time.
    """
    config = state.settings.config
    asked = start.request.model_copy(update={"input": INPUT_ITEMS.validate_python(steer.messages)})
    shown = await with_heads(state.folder.files, start.tenant, asked, config.files.max_inline_bytes)
    steer = steer.model_copy(update={"unfit": _unfit(config, start, shown)})
    # Other messages under the same key are another update, which the workflow refuses.
    update_id = f"{steer.steer_id}-{steer.digest[:_ID_DIGITS]}"
    try:
        with state.steers.one(start.response_id):
            await send_update(state.temporal, start.response_id, "steer", steer, update_id=update_id)
    except TooManySteers:
        raise _refusal(TOO_MANY_WAITING) from None
    except WorkflowUpdateFailedError as error:
        cause = error.cause.type if isinstance(error.cause, ApplicationError) else None
        raise _refusal(cause) from None
    except (TimeoutError, *TemporalDown) as error:
        raise Unavailable(
            "It is not known whether your messages were accepted: no worker has confirmed them. Send them again with "
            "the same Idempotency-Key; without one, read the response's output first, where you would see them twice.",
            retry_after=_AGAIN_SECONDS,
        ) from error
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            raise _refusal(STEERED_TOO_LATE) from None
        if error.status == RPCStatusCode.RESOURCE_EXHAUSTED:
            # As many updates of one run are under way as Temporal takes.
            raise _refusal(TOO_MANY_WAITING) from None
        raise


def _unfit(config: Config, start: StartResponse, shown: CreateResponse) -> list[int]:
    """The targets that cannot take the messages, by their index. The workflow knows which of them the response uses.

    Raises InvalidRequest if none can take them, as for the input of a request: with what the first one lacks.
    """
    adapters = {provider.name: provider.adapter for provider in config.providers}
    items, unfit, first = shown.input_items(), list[int](), None
    for index, target in enumerate(start.targets):
        try:
            # A provider that the configuration has lost since is that of no further turn.
            if target.provider in adapters:
                check_takes(adapters[target.provider], target.provider, shown, items)
        except InvalidRequest as error:
            first = first or error
            unfit.append(index)
    if first is not None and len(unfit) == len(start.targets):
        raise first
    return unfit


def _check_was_read(record: Record, steer: Steer) -> None:
    """Raises Conflict, unless the messages are in the output of the ended response: they were sent before."""
    found = steered_content(record.output, steer.steer_id)
    if found is None:
        raise _refusal(STEERED_TOO_LATE)
    if found != [message["content"] for message in steer.messages]:
        raise _refusal(KEY_REUSED)


def _refusal(code: str | None) -> OpenResponsesError:
    elsewhere = "Send yours in a new request: its previous_response_id names this response."
    if code == STEERED_TOO_LATE:
        message = f"The response has ended, or is about to, and reads no further messages. {elsewhere}"
        return Conflict(message, code=STEERED_TOO_LATE)
    if code == NO_TURN_LEFT:
        message = f"The response is in the last model turn that it may take (max_turns). {elsewhere}"
        return Conflict(message, code=NO_TURN_LEFT)
    if code == TOO_MANY_WAITING:
        message = (
            f"{MAX_WAITING_STEERS} submissions wait for the response's next model turn, its limit. Send yours after "
            "that turn has begun."
        )
        return RateLimited(message, code=TOO_MANY_WAITING, retry_after=_AGAIN_SECONDS)
    if code == TOO_MANY:
        return Conflict(f"The response has taken {MAX_STEERS} submissions, its limit. {elsewhere}", code=TOO_MANY)
    if code == NOT_FOR_FALLBACK:
        message = f"The provider that the response uses now cannot take a part of your messages. {elsewhere}"
        return InvalidRequest(message, param="input", code=NOT_FOR_FALLBACK)
    if code == KEY_REUSED:
        message = "You sent this Idempotency-Key with other messages. Send a new key with new messages."
        return Conflict(message, code=KEY_REUSED)
    message = "This response takes no messages while it runs: its worker is of an earlier version, or it only compacts."
    return Conflict(message, code=NOT_SUPPORTED)
