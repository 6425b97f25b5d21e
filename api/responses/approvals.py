"""`POST /v1/responses/{id}/approvals`: answers an approval that a running response waits for."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field, ValidationError
from starlette.responses import Response
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from api.admission.scopes import check_built_ins, check_scopes
from api.app_state import AppState
from api.body import read_object
from api.dependencies import AuthenticatedCaller, State
from api.lookup import owned_record
from api.responses.retrieve import respond_as_it_stands
from api.updates import send_update
from open_responses.errors import Conflict, NotFound, Unavailable
from open_responses.io.store.records import Record
from open_responses.io.temporal.client import TemporalDown
from open_responses.loop.payloads.approvals import ApprovalAnswer
from open_responses.schema.validation import CHECK_NAMES, RequestObject, complaint_of
from open_responses.tool_use.tool_items import response_of_approval

router = APIRouter(prefix="/v1/responses/{response_id}")

# The client sees the request a moment before the workflow knows of it.
_WORKFLOW_PATIENCE_SECONDS = 5.0
_AGAIN_SECONDS = 5.0


class ApprovalBody(RequestObject):
    """`POST /v1/responses/{id}/approvals`: the members of an `mcp_approval_response` item."""

    type: str | None = None
    approval_request_id: Annotated[str, Field(min_length=1)]
    approve: bool
    reason: Annotated[str, Field(max_length=4096)] | None = None


@router.post("/approvals")
async def answer_approval(request: Request, response_id: str, state: State, caller: AuthenticatedCaller) -> Response:
    """Answer a running background response that waits for an approval. Returns the response as it stands."""
    body, _ = await read_object(request, state.settings.max_body_bytes)
    try:
        given = ApprovalBody.model_validate(body, context=CHECK_NAMES)
    except ValidationError as error:
        raise complaint_of(error) from None
    record = await owned_record(state, caller.reads_of, response_id)
    # The answer lets the response go on, with its model and tools: only a key that may ask for these gives it.
    check_scopes(state.settings.config, caller.key, record.start.request)
    check_built_ins(caller.key, [tool.name for tool in record.start.built_in])
    if response_of_approval(given.approval_request_id) != response_id:
        raise _no_such(given.approval_request_id)
    if record.response is not None:
        raise _ended(given.approval_request_id, record)
    answer = ApprovalAnswer(approval_request_id=given.approval_request_id, approve=given.approve, reason=given.reason)
    await _update(state, response_id, answer)
    record = await owned_record(state, caller.reads_of, response_id, decided=True)
    return await respond_as_it_stands(request, state, record)


async def _update(state: AppState, response_id: str, answer: ApprovalAnswer) -> None:
    """Raises Conflict, NotFound, and Unavailable where no worker says in time whether the answer was taken."""
    deadline = time.monotonic() + _WORKFLOW_PATIENCE_SECONDS
    while True:
        try:
            await send_update(state.temporal, response_id, "answer_approval", answer)
        except WorkflowUpdateFailedError as error:
            code = error.cause.type if isinstance(error.cause, ApplicationError) else None
            if code == "approval_already_answered":
                raise Conflict("This approval was answered already. Read the response to see how.", code=code) from None
            if time.monotonic() > deadline:
                raise _no_such(answer.approval_request_id) from None
            await asyncio.sleep(0.05)
        except (TimeoutError, *TemporalDown) as error:
            raise Unavailable(
                "It is not known whether your answer was accepted: no worker has confirmed it. Send it again. It "
                "counts once: if the first was accepted, you get a 409 approval_already_answered.",
                retry_after=_AGAIN_SECONDS,
            ) from error
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                raise Conflict("The response has ended, so no call waits for your answer. Read the response.") from None
            raise
        else:
            return


def _no_such(approval_id: str) -> NotFound:
    return NotFound(
        f"No call of this response waits for approval {approval_id[:80]!r}. Check the ids of response and approval.",
        param="approval_request_id",
    )


def _ended(approval_id: str, record: Record) -> Conflict | NotFound:
    if any(item["id"] == approval_id for item in record.output):
        return Conflict(
            "The response has ended. Send your answer in a new response: its previous_response_id names this one, and "
            "its input has an mcp_approval_response.",
            code="response_ended",
        )
    return _no_such(approval_id)
