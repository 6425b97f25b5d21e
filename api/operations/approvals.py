"""`GET /v1/approvals`: the calls that wait for a person, in all running responses that the caller may see."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from temporalio.client import WorkflowExecution, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from api.admission.history_reads import Reads
from api.app_state import AppState
from api.dependencies import AuthenticatedCaller, State
from api.operations.filters import Page, pending_asked_for
from api.operations.responses import run_of, runs_of, shown_of
from api.paging import list_object, unknown_cursor
from open_responses.ids import is_id, position_of
from open_responses.io.temporal.client import TENANT
from open_responses.io.temporal.pending_approvals import PendingApproval, pending_approvals
from open_responses.json_types import JsonObject
from open_responses.schema.mcp_tool import HOSTED_LABEL
from open_responses.schema.operation_bodies import ApprovalPending

router = APIRouter(prefix="/v1/approvals")


@router.get("")
async def list_approvals(request: Request, state: State, caller: AuthenticatedCaller) -> JSONResponse:
    """One page, by the newest response first, and in the order of its calls within a response."""
    page = pending_asked_for(request.query_params, caller)

    async def read() -> JsonObject:
        async with state.history_reads.request(caller.tenant) as reads:
            return await _page(state, page, reads)

    return JSONResponse(await state.recent.get(("approvals", page), read))


async def _page(state: AppState, page: Page, reads: Reads) -> JsonObject:
    """A response has several approvals: its first ones may be on one page, and the others on the next."""
    entries: list[JsonObject] = []
    after = None
    if page.after is not None:
        after, index = _position(page.after)
        async with reads.one():
            last = await run_of(state, page, after)
        of_last = await _of(state, await shown_of(state, page, [last]), reads)
        entries += [one for one in of_last if _position(one["id"])[1] > index]
    while len(entries) <= page.limit:
        async with reads.one():
            runs, has_more = await runs_of(state, page, after=after)
        entries += await _of(state, await shown_of(state, page, runs), reads)
        if not has_more:
            break
        after = runs[-1].id
    return list_object(entries[: page.limit], has_more=len(entries) > page.limit)


async def _of(state: AppState, runs: Sequence[WorkflowExecution], reads: Reads) -> list[JsonObject]:
    async def read(run: WorkflowExecution) -> list[PendingApproval]:
        if run.status != WorkflowExecutionStatus.RUNNING:
            return []
        async with reads.one():
            try:
                return await pending_approvals(state.temporal, run.id, run.run_id)
            except RPCError as error:
                if error.status != RPCStatusCode.NOT_FOUND:
                    raise
                # Deleted meanwhile.
                return []

    found = await asyncio.gather(*(read(run) for run in runs))
    return [_entry(run, one) for run, pending in zip(runs, found, strict=True) for one in pending]


def _entry(run: WorkflowExecution, approval: PendingApproval) -> JsonObject:
    entry: ApprovalPending = {
        "id": approval.id,
        "object": "approval.pending",
        "response_id": run.id,
        "tenant": run.typed_search_attributes.get(TENANT),
        "tool": approval.tool,
        "arguments": approval.arguments,
        "server_label": None if approval.server_label == HOSTED_LABEL else approval.server_label,
        "requested_at": approval.requested_at,
    }
    return cast(JsonObject, entry)


def _position(approval_request_id: str) -> tuple[str, int]:
    """The response of an approval, and the place of its call in the output. Raises NotFound."""
    found = position_of(approval_request_id) if approval_request_id.startswith("mcpr_") else None
    if found is None or not is_id("resp_", found[0]):
        raise unknown_cursor()
    return found
