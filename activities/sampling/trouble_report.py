"""Reports a provider's failure to the response's workflow, which shows it to operators.

What this prevents: a response that an operator sees as running, while its provider is down and the next attempt is
minutes away. Temporal repeats a failed sample by itself, so the workflow does not learn of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from activities.errors import backoff_seconds
from open_responses.io.background import in_background
from open_responses.loop.payloads.names import PROVIDER_TROUBLE
from open_responses.loop.payloads.sample import ProviderTrouble, SampleInput

# The report delays only the retry, whose pause is longer.
_PATIENCE_SECONDS = 2.0
_LONGEST_MESSAGE = 500
# Each report adds four events to a history. An outage of a day would fill it: attempts are then 30 seconds apart.
_EACH_UP_TO = 20
_reports: set[asyncio.Task[None]] = set()


async def report_failure(call: SampleInput, error: ApplicationError, attempt: int) -> None:
    """Report an attempt that Temporal repeats, and when it does. Does nothing for a final error."""
    if error.non_retryable or (attempt > _EACH_UP_TO and attempt % _EACH_UP_TO):
        return
    delay = error.next_retry_delay
    pause = backoff_seconds(attempt) if delay is None else delay.total_seconds()
    await _signal(
        ProviderTrouble(
            epoch=call.epoch,
            provider=call.provider,
            code=error.type or "server_error",
            message=error.message[:_LONGEST_MESSAGE],
            next_at=time.time() + pause,
        )
    )


def report_answer(call: SampleInput, attempt: int) -> None:
    """Report that the provider answers again, in the background. Does nothing in the first attempt."""
    if attempt > 1:
        trouble = ProviderTrouble(epoch=call.epoch, provider=call.provider)
        task = in_background("provider report", _signal(trouble))
        _reports.add(task)
        task.add_done_callback(_reports.discard)


async def _signal(trouble: ProviderTrouble) -> None:
    info = activity.info()
    assert info.workflow_id is not None
    handle = activity.client().get_workflow_handle(info.workflow_id, run_id=info.workflow_run_id)
    with contextlib.suppress(RPCError, TimeoutError):
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await handle.signal(PROVIDER_TROUBLE, trouble)
