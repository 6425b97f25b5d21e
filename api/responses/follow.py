"""Follow: one client reads the events of a response that it has started.

The client subscribes, and the response is started inside of the subscription: no event falls in between.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable

import structlog
from temporalio.service import RPCError

from api.app_state import AppState
from api.responses.cancel import cancel
from api.streaming.batches import Batch
from api.streaming.follower import Follower
from open_responses.io.log.reader import Messages
from open_responses.io.temporal.client import TemporalDown
from open_responses.loop.payloads.start import StartResponse

log = structlog.get_logger(__name__)


class Subscription:
    """Receives the events of one response from now on. `has_begun`: the client reads them."""

    def __init__(self, follower: Follower, queue: Messages) -> None:
        self._follower = follower
        self._queue = queue
        self.has_begun = False

    @property
    def has_ended(self) -> bool:
        """Whether the client has been given the terminal event."""
        return self._follower.has_ended

    def next_batch(self) -> Awaitable[Batch | None]:
        """The events of a response that has been started, as `Follower.next_batch` has them."""
        return self._follower.next_batch(self._queue) if self.has_begun else self._first_batch()

    async def _first_batch(self) -> Batch | None:
        self.has_begun = True
        await self._queue.subscribed()
        return await self._follower.next_batch(self._queue)


@contextlib.asynccontextmanager
async def subscribed(state: AppState, start: StartResponse, *, only_end: bool = False) -> AsyncIterator[Subscription]:
    """The response is to be started inside of this context.

    The subscription is made meanwhile: `next_batch` waits for it, and reads in the log what was written before.

    Args:
        only_end: the client needs the terminal event alone.
    """
    async with state.hub.listen(start.response_id, at_once=True) as queue:
        subscription = Subscription(Follower(state, start, only_end=only_end), queue)
        try:
            yield subscription
        finally:
            await _end(state, start, subscription)


async def _end(state: AppState, start: StartResponse, subscription: Subscription) -> None:
    """A client that leaves ends only its reader; but no client can fetch a response that is not stored. One with an
    `Idempotency-Key` that this client has not read from may be another request's."""
    may_be_others = start.nonce is not None and not subscription.has_begun
    if not (subscription.has_ended or start.request.is_stored or may_be_others):
        try:
            await cancel(state, start.response_id)
        except (RPCError, *TemporalDown) as error:
            log.warning("left_response_not_cancelled", response_id=start.response_id, reason=str(error))
    state.eraser.erase_soon(start)
