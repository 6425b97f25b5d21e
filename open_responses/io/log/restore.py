"""Writes a log again that Redis has lost, in whole or from some event on.

What this prevents: a response that ends, or a stream with a gap, because Redis was flushed or failed over while the
response ran. A writer's own events are rebuilt from its fold and trace; the earlier ones come from its workflow.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import structlog
from temporalio.service import RPCError, RPCStatusCode

from open_responses.io.background import in_background
from open_responses.io.log.append_script import AppendScript, is_of_one_stream
from open_responses.io.log.batch import Batch, first_page
from open_responses.io.log.lives import enter
from open_responses.io.log.writer import Earlier, LoadEarlier, WakesForWriters, Writer
from open_responses.io.metrics import recording as metrics
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

        async def fetch_and_rewrite() -> None:
            await self._rewrite(writer, 0, await earlier())

        self._apart(writer, batch, fetch_and_rewrite)

    def enter_apart(self, writer: Writer, batch: Batch) -> None:
        """Check whether this writer may write in the log's present life.

        This runs in a task, because it queries Temporal.
        """
        authority = writer.authority
        batch = replace(batch, fields={**batch.fields, **_run_of(writer)})

        async def enter_life() -> None:
            server = self._script.servers
            life = await enter(self._redis, writer.response_id, writer.fence, ttl=self._script.ttl)
            if not life or (authority is not None and not await authority.is_current()):
                log.warning("writer_is_old", response_id=writer.response_id, fence=writer.fence)
                writer.refuse()
                return
            known, writer.life, writer.server = writer.life, life, server
            if life != known:
                await self._rewrite(writer, writer.base, Earlier([], {}))

        self._apart(writer, batch, enter_life)

    def _apart(self, writer: Writer, batch: Batch, step: Callable[[], Awaitable[None]]) -> None:
        writer.restoring = True
        task = in_background("restore a log", self._until_done(writer, batch, step))
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
        _record_failure(writer)
        return not writer.is_over

    async def _until_done(self, writer: Writer, batch: Batch, step: Callable[[], Awaitable[None]]) -> None:
        while not writer.is_over:
            try:
                await step()
                break
            except (*RedisDown, RPCError) as error:
                if isinstance(error, ResponseError) and is_of_one_stream(error):
                    writer.fail(f"Redis does not take it: {error}")
                    break
                if isinstance(error, RPCError) and error.status == RPCStatusCode.NOT_FOUND:
                    # The response was deleted meanwhile: its earlier events are gone, and its log rejects every writer.
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
        _record_failure(writer)
        writer.restoring = False
        if not writer.is_over:
            writer.unsent = batch
            self._appender.wake(writer, at_once=True)

    async def _rewrite(self, writer: Writer, length: int, earlier: Earlier) -> None:
        """Append what the log has lost, from sequence number `length` on.

        The events before that are sent and compared as well, because an older writer may have written other events
        there. If Redis loses the log once more meanwhile, the writer's next append detects it.
        """
        first = 0 if earlier.events else writer.base
        fields = {**earlier.fields, **_run_of(writer)}
        events = [*earlier.events, *writer.rebuilt(writer.base)]
        start = 0
        while start < len(events):
            page = first_page(events[start:])
            batch = Batch(first + start, page, {} if start else fields)
            command = self._script.command(writer, batch, origin=writer.origin_from(length))
            code, found, _ = await self._redis.execute_command(*command)  # type: ignore[no-untyped-call]
            if code == 1:
                writer.refuse()
            elif code == 3:
                log.warning("log_diverged", response_id=writer.response_id, first=batch.first, length=found)
                writer.diverge()
            if code != 0:
                return
            start += len(page)
        if events:
            metrics.log_restored("restored")


def _record_failure(writer: Writer) -> None:
    if writer.lost or writer.refusal is not None:
        metrics.log_restored("lost" if writer.lost else "failed")


def _run_of(writer: Writer) -> Mapping[str, bytes]:
    """The field of the state that names the writer's run: set with its first events in a life of the log."""
    return {} if writer.authority is None else {"run": writer.authority.run_id}
