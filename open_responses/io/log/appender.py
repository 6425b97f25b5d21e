"""The appender of a process: sends the pending events of all its streams to Redis, in one pipeline.

What this prevents: a round trip to Redis per delta (5,000 a second at most), and one stream that holds up the others.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from open_responses.io.log.append_script import AppendScript, is_of_one_stream
from open_responses.io.log.append_window import WINDOW_SECONDS, AppendWindow
from open_responses.io.log.batch import Batch, EventTooLarge
from open_responses.io.log.restore import LogRestorer
from open_responses.io.log.writer import Writer
from open_responses.io.metrics import recording as metrics
from open_responses.io.redis.client import NoScriptError, Redis, RedisDown, RedisError, ResponseError
from open_responses.io.redis.packed_pipeline import Command, PackedPipeline

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 0.1
_PIPELINE_BYTES = 16 << 20
# After this many failures of a pipeline, while Redis answers a PING, the appender sends each stream apart. It gives up
# a stream that then fails as often by itself.
_FAILURES_ALONE = 3


class Appender:
    """Collects the events of all streams of this process, and sends them in one pipeline.

    At once when idle; with those of the next milliseconds when many streams are busy (`append_window.py`).
    """

    def __init__(self, redis: Redis, *, ttl_seconds: int, window_seconds: float = WINDOW_SECONDS) -> None:
        self._redis = redis
        self._pipeline = PackedPipeline(redis)
        self._dirty: dict[Writer, None] = {}
        self._wake = asyncio.Event()
        self._window = AppendWindow(seconds=window_seconds)
        self._commands: list[Command] = []
        self._script = AppendScript(ttl_seconds=ttl_seconds)
        self._restorer = LogRestorer(redis, self._script, self)

    @property
    def server(self) -> int:
        """The number of the present Redis server.

        It changes when Redis may have lost data by a restart or a failover.
        """
        return self._script.servers

    def wake(self, writer: Writer, *, at_once: bool = False) -> None:
        """Send the pending events of this writer with the next pipeline; with `at_once`, do not wait for others."""
        if not self._dirty:
            self._wake.set()
        self._dirty[writer] = None
        if at_once:
            self._window.close()

    def hurry(self) -> None:
        """Do not wait for more events with those that wait to be sent."""
        if self._dirty:
            self._window.close()

    def command(self, *parts: bytes | str | int) -> None:
        """Send a command that is not an append with the next pipeline; commands keep their order."""
        self._commands.append(parts)
        self._wake.set()
        self._window.close()

    async def run(self) -> None:
        """Append until cancelled. An outage of Redis delays and loses nothing."""
        with contextlib.suppress(*RedisDown):
            await self._script.load(self._redis)
        try:
            await self._run()
        finally:
            self._pipeline.close()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            await self._window.wait()
            self._wake.clear()
            writers, self._dirty = [w for w in self._dirty if not w.restoring], {}
            commands, self._commands = self._commands, []
            batches = [(w, batch) for w in writers if not w.is_over and (batch := _taken(w)) is not None]
            await self._deliver(batches, commands)
            self._window.sent(len(batches))
            for writer in writers:
                if (writer.pending or writer.pending_fields or writer.unsent) and not (
                    writer.is_over or writer.restoring
                ):
                    self.wake(writer)

    async def _deliver(self, batches: list[tuple[Writer, Batch]], commands: list[Command]) -> None:
        for writer, _ in batches:
            writer.in_flight = True
        failures = 0
        for part in _pipelines(batches) or [[]]:
            while part or commands:
                try:
                    part = await self._send(part, commands)
                    commands = []
                except RedisDown as error:
                    failures += 1
                    if failures == 1:
                        log.warning("redis_down", reason=str(error), streams=len(batches))
                    await asyncio.sleep(_RETRY_SECONDS)
                    if failures >= _FAILURES_ALONE and part and await self._answers():
                        part, commands = await self._send_apart(part, commands), []

    async def _send_apart(
        self, batches: list[tuple[Writer, Batch]], commands: list[Command]
    ) -> list[tuple[Writer, Batch]]:
        """Send stream by stream when Redis answers but a pipeline fails: one stream must not hold up the others."""
        left: list[tuple[Writer, Batch]] = []
        with contextlib.suppress(*RedisDown):
            await self._send([], commands)
        for writer, batch in batches:
            reason = ""
            for _ in range(_FAILURES_ALONE):
                try:
                    left += await self._send([(writer, batch)], [])
                    break
                except RedisDown as error:
                    reason = str(error)
                if not await self._answers():
                    left.append((writer, batch))
                    break
            else:
                writer.fail(f"Redis does not take it: {reason}")
        return left

    async def _answers(self) -> bool:
        with contextlib.suppress(*RedisDown):
            return bool(await self._redis.ping())
        return False

    async def _send(self, batches: list[tuple[Writer, Batch]], commands: list[Command]) -> list[tuple[Writer, Batch]]:
        """Send one pipeline. Returns the batches to send again: their logs were too short, and are now restored."""
        appends = [self._script.command(writer, batch) for writer, batch in batches]
        replies = (await self._pipeline.execute([*commands, *appends]))[len(commands) :]
        again: list[tuple[Writer, Batch]] = []
        for (writer, batch), reply in zip(batches, replies, strict=True):
            if isinstance(reply, ResponseError) and is_of_one_stream(reply):
                writer.fail(f"Redis does not take it: {reply}")
            elif isinstance(reply, RedisError):
                if not (again and isinstance(reply, NoScriptError)):
                    await self._recover(reply)
                again.append((writer, batch))
            elif reply[0] == 2:
                log.warning("log_restored", response_id=writer.response_id, length=reply[1], expected=batch.first)
                if reply[1] >= writer.base:
                    if await self._restorer.rewrite_own(writer, reply[1]):
                        again.append((writer, batch))
                elif writer.earlier is not None:
                    self._restorer.restore_apart(writer, batch, writer.earlier)
                else:
                    metrics.log_restored("lost")
                    writer.lose()
            elif reply[0] == 4:
                self._restorer.enter_apart(writer, batch)
            elif reply[0] == 3:
                log.warning("log_diverged", response_id=writer.response_id, first=batch.first, length=reply[1])
                writer.diverge()
            else:
                writer.in_flight = False
                if reply[2]:
                    writer.cancelled = True
                if reply[0] == 1:
                    writer.refuse()
                else:
                    writer.acknowledge(batch)
        return again

    async def _recover(self, error: RedisError) -> None:
        """Load the script again after a restart or SCRIPT FLUSH. Any other error is retried as an outage."""
        if isinstance(error, NoScriptError):
            await self._script.load(self._redis)
        elif isinstance(error, RedisDown):
            raise error
        else:
            raise ConnectionError(str(error)) from error


def _taken(writer: Writer) -> Batch | None:
    """The writer's next batch; None if a batch cannot be encoded. That ends this writer and no other."""
    try:
        return writer.take()
    except EventTooLarge as error:
        writer.fail(str(error))
    except (TypeError, ValueError) as error:
        writer.fail(f"an event cannot be encoded: {type(error).__name__}", error)
    return None


def _pipelines(batches: Sequence[tuple[Writer, Batch]]) -> list[list[tuple[Writer, Batch]]]:
    """Split the batches into pipelines of bounded size, in order."""
    parts, size = list[list[tuple[Writer, Batch]]](), _PIPELINE_BYTES
    for writer, batch in batches:
        if size >= _PIPELINE_BYTES:
            parts.append([])
            size = 0
        parts[-1].append((writer, batch))
        size += sum(map(len, batch.events)) + sum(map(len, batch.fields.values()))
    return parts
