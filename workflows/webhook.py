"""The workflow of one delivery: an attempt, a pause, the next attempt, until the receiver has the event or it is given
up.

A worker that is killed between sending and the result leaves an attempt with an unknown outcome. It is made again, with
the same event id, by which a receiver drops repeats.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from open_responses.loop import search_attributes as names
    from open_responses.webhooks.deliveries import (
        DELIVERY_MEMO,
        KEPT_ATTEMPTS,
        SEND_WEBHOOK,
        WEBHOOK_WORKFLOW,
        Delivery,
        SendResult,
        WebhookAttempt,
    )

_STATUS = SearchAttributeKey.for_keyword(names.STATUS)
# An attempt bounds itself. A worker that was killed in one is noticed by its missing heartbeats.
_LONGEST_ATTEMPT = timedelta(seconds=90)
_HEARTBEAT_TIMEOUT = timedelta(seconds=12)
# Longer with each attempt in a row: a day of one attempt a second would be more than a history takes.
_AFTER_A_LOST_WORKER_SECONDS = 1.0
_LONGEST_AFTER_A_LOST_WORKER_SECONDS = 600.0
_MOST_DOUBLINGS = 10
_AFTER_A_LOST_WORKER_FOR_SECONDS = 24 * 3600.0


@workflow.defn(name=WEBHOOK_WORKFLOW)
class WebhookWorkflow:
    """Sends one event to one target. The workflow's id is the delivery's."""

    @workflow.init
    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._is_due = False
        self._lost_in_a_row = 0

    @workflow.run
    async def run(self, delivery: Delivery) -> Delivery:
        """Make attempts until one of them is the last. Returns the delivery with its log."""
        self._delivery.begun_at = workflow.now().timestamp()
        while True:
            self._is_due = False
            result = await self._attempt()
            self._note(result)
            if result.retry_in is None:
                return self._delivery
            with contextlib.suppress(asyncio.TimeoutError):
                await workflow.wait_condition(
                    lambda: self._is_due, timeout=timedelta(seconds=result.retry_in), timeout_summary="next attempt"
                )

    @workflow.signal
    def send_now(self) -> None:
        """Make the next attempt at once."""
        self._is_due = True

    @workflow.query
    def delivery(self) -> Delivery:
        return self._delivery

    async def _attempt(self) -> SendResult:
        began = workflow.now().timestamp()
        try:
            result: SendResult = await workflow.execute_activity(
                SEND_WEBHOOK,
                self._delivery,
                result_type=SendResult,
                summary=self._delivery.type,
                start_to_close_timeout=_LONGEST_ATTEMPT,
                heartbeat_timeout=_HEARTBEAT_TIMEOUT,
                # Each attempt is an entry of the log.
                retry_policy=RetryPolicy(maximum_attempts=1),
            )
        except ActivityError:
            workflow.logger.warning("an attempt to send a webhook has no result")
            begun = self._delivery.begun_at or began
            is_last = self._delivery.is_single or began - begun > _AFTER_A_LOST_WORKER_FOR_SECONDS
            pause = _AFTER_A_LOST_WORKER_SECONDS * 2 ** min(self._lost_in_a_row, _MOST_DOUBLINGS)
            self._lost_in_a_row += 1
            return SendResult(
                attempt=WebhookAttempt(at=began, error="outcome_unknown"),
                status="failed" if is_last else "pending",
                retry_in=None if is_last else min(pause, _LONGEST_AFTER_A_LOST_WORKER_SECONDS),
            )
        self._lost_in_a_row = 0
        return result

    def _note(self, result: SendResult) -> None:
        """Keep the attempt, where lists and readers find it without a worker."""
        delivery, now = self._delivery, workflow.now().timestamp()
        delivery.attempts = [*delivery.attempts, result.attempt][-KEPT_ATTEMPTS:]
        delivery.made += 1
        delivery.status = result.status
        delivery.next_at = None if result.retry_in is None else now + result.retry_in
        workflow.upsert_memo({DELIVERY_MEMO: delivery})
        if workflow.info().typed_search_attributes.get(_STATUS) != delivery.status:
            workflow.upsert_search_attributes([_STATUS.value_set(delivery.status)])
