"""Writes a log again that Redis has lost, in whole or from some event on.

What this prevents: a response that ends, or a stream with a gap, because Redis was flushed or failed over while the
response ran. A writer's own events are rebuilt from its fold and trace; the earlier ones come from its workflow.
"""

from __future__ import annotations

import asyncio
import contextlib

import structlog
from temporalio.service import RPCError, RPCStatusCode

from open_responses.io.background import in_background
from open_responses.io.log.append_script import AppendScript, is_of_one_stream
from open_responses.io.log.batch import Batch, first_page
from open_responses.io.log.writer import Earlier, LoadEarlier, WakesForWriters, Writer
from open_responses.io.redis.client import NoScriptError, Redis, RedisDown, ResponseError

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 0.5


class LogRestorer:
    """Restores the logs of this process's writers."""

    def __init__(self, redis: Redis, append: AppendScript, appender: WakesForWriters) -> None:
        self._redis = redis
        self._script = append
        self._appender = appender
        self._recoveries: set[asyncio.Task[None]] = set()

    def restore_apart(self, writer: Writer, batch: Batch, earlier: LoadEarlier) -> None:
        """Restore a log whose earlier model turns only the workflow has, in a task: the other streams do not wait."""
        writer.restoring = True
        task = in_background("restore a log", self._fetch_and_rewrite(writer, batch, earlier))
        self._recoveries.add(task)
        task.add_done_callback(self._recoveries.discard)

    async def rewrite_own(self, writer: Writer, length: int) -> bool:
        """Append the writer's own events from `length` on. Returns False if the writer has failed."""
        try:
            await self._rewrite(writer, length, Earlier([], {}))
        except ResponseError as error:
            if not is_of_one_stream(error):
                raise
            writer.fail(f"Redis does not take it: {error}")
        except (TypeError, ValueError, LookupError) as error:
            log.exception("log_not_restored", response_id=writer.response_id)
            writer.fail(f"it was lost, and cannot be restored: {type(error).__name__}")
        return not writer.is_over

    async def _fetch_and_rewrite(self, writer: Writer, batch: Batch, earlier: LoadEarlier) -> None:
        while not writer.fenced.is_set():
            try:
                await self._rewrite(writer, 0, await earlier())
                break
            except (*RedisDown, RPCError) as error:
                if isinstance(error, ResponseError) and is_of_one_stream(error):
                    writer.fail(f"Redis does not take it: {error}")
                    break
                if isinstance(error, RPCError) and error.status == RPCStatusCode.NOT_FOUND:
                    # The response was deleted meanwhile: its earlier events are gone, and its log takes no more.
                    writer.lose()
                    break
                if isinstance(error, NoScriptError):
                    with contextlib.suppress(*RedisDown):
                        await self._script.load(self._redis)
                log.warning("log_not_restored", response_id=writer.response_id, reason=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception as error:
                log.exception("log_not_restored", response_id=writer.response_id)
                writer.fail(f"it was lost, and cannot be restored: {type(error).__name__}")
                break
        writer.restoring = False
        writer.unsent = batch
        self._appender.wake(writer)

    async def _rewrite(self, writer: Writer, length: int, earlier: Earlier) -> None:
        """Append what the log has lost, from sequence number `length` on."""
        events = [*earlier.events[length:], *writer.rebuilt(max(length, writer.base))]
        start = 0
        while start < len(events):
            page = first_page(events[start:])
            pipe = self._redis.pipeline(transaction=False)
            batch = Batch(length + start, page, {} if start else earlier.fields)
            self._script.add_to(pipe, writer, batch, origin=writer.origin_from(length))
            await pipe.execute()
            start += len(page)
