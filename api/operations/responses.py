"""`GET /v1/responses`: the responses that began last, by status, model, tenant and more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from temporalio.client import WorkflowExecution
from temporalio.service import RPCError, RPCStatusCode

from api.app_state import AppState
from api.dependencies import AuthenticatedCaller, State
from api.operations.filters import Page, responses_asked_for
from api.operations.summaries import summary_of
from api.paging import list_object, unknown_cursor
from open_responses.errors import Unavailable
from open_responses.io.temporal.client import TENANT
from open_responses.io.temporal.visibility import Cursor, literal, newest_runs
from open_responses.json_types import JsonObject

router = APIRouter(prefix="/v1/responses")


@router.get("")
async def list_responses(request: Request, state: State, caller: AuthenticatedCaller) -> JSONResponse:
    """One page, newest first. The same page is read from Temporal at most once a second."""
    page = responses_asked_for(request.query_params, caller)

    async def read() -> JsonObject:
        async with state.history_reads.request(caller.tenant) as reads, reads.one():
            runs, has_more = await runs_of(state, page)
        shown = await shown_of(state, page, runs)
        listed = list_object([await summary_of(state.settings, run) for run in shown], has_more=has_more)
        return {**listed, "last_id": runs[-1].id if runs else None}

    return JSONResponse(await state.recent.get(("responses", page), read))


async def runs_of(state: AppState, page: Page, *, after: str | None = None) -> tuple[list[WorkflowExecution], bool]:
    """The runs of a page. `after`: the response before it, where that is not the page's own `after`.

    Raises:
        NotFound: `after` is not in the list.
        Unavailable: The namespace does not know the search attributes of this version.
        RPCError: Temporal cannot be reached.
    """
    after = after or page.after
    try:
        cursor = None if after is None else await _cursor(state, page, after)
        conditions = [*page.whose, *page.conditions]
        return await newest_runs(state.temporal, conditions, limit=page.limit, after=cursor)
    except RPCError as error:
        if error.status != RPCStatusCode.INVALID_ARGUMENT or "search attribute" not in error.message:
            raise
        raise Unavailable(
            "Temporal's namespace does not have all search attributes of this version. If you operate the server, "
            "create them (docs/temporal-ui.md)."
        ) from error


async def run_of(state: AppState, page: Page, response_id: str) -> WorkflowExecution:
    """The run of a response that the caller may see. Raises NotFound, which names `after`, and RPCError.

    The response may have another status by now, so that only its owner is compared.
    """
    conditions = [*page.whose, f"WorkflowId = {literal(response_id)}"]
    found, _ = await newest_runs(state.temporal, conditions, limit=1, after=None)
    if not found or page.tenant not in (None, found[0].typed_search_attributes.get(TENANT)):
        raise unknown_cursor()
    return found[0]


async def _cursor(state: AppState, page: Page, after: str) -> Cursor:
    run = await run_of(state, page, after)
    return Cursor(run.start_time, run.id)


async def shown_of(state: AppState, page: Page, runs: Sequence[WorkflowExecution]) -> list[WorkflowExecution]:
    """Those runs that may be shown.

    Temporal lists a run for some time after its response was deleted. And a database may take two names of tenants for
    one, by letters of another case for instance, so owners are compared here as well.
    """
    own = [run for run in runs if page.tenant in (None, run.typed_search_attributes.get(TENANT))]
    return await asyncio.to_thread(lambda: [run for run in own if not state.eraser.marks.is_hidden(run.id)])
