"""Announces the events of a response to its webhooks. The response goes on, or ends, whether or not they arrive."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from open_responses.json_types import JsonObject
    from open_responses.loop.payloads.start import StartResponse
    from open_responses.schedules.payloads import SCHEDULED_RESPONSE_ENDED
    from open_responses.webhooks.deliveries import AnnounceInput, WebhookNews, news_of_approvals, news_of_end
    from workflows import calls
    from workflows.patches import patched


async def announce_end(start: StartResponse, response: JsonObject) -> None:
    """Start the deliveries of a response's end, after its terminal event, and signal the schedule's run behind it."""
    if start.scheduled_run is not None and patched("scheduled-runs"):
        run = workflow.get_external_workflow_handle(start.scheduled_run)
        with contextlib.suppress(FailureError):
            await run.signal(SCHEDULED_RESPONSE_ENDED, response["status"])
    if start.webhooks and patched("webhooks"):
        await _announce(start, news_of_end(response), response.get("completed_at"))


async def announce_approvals(start: StartResponse, approval_ids: Sequence[str]) -> None:
    """Start the deliveries of calls that wait for a person."""
    if start.webhooks and patched("webhooks"):
        await _announce(start, [news_of_approvals(start.response_id, approval_ids)], None)


async def _announce(start: StartResponse, news: list[WebhookNews], at: int | None) -> None:
    call = AnnounceInput(
        response_id=start.response_id,
        tenant=start.tenant,
        at=int(workflow.now().timestamp()) if at is None else at,
        is_stored=start.request.is_stored,
        targets=start.webhooks,
        news=news,
    )
    try:
        await calls.announce_webhooks(call)
    except calls.LOCAL_FAILED:
        workflow.logger.warning("the webhooks of a response were not started")
