"""A redis-py client whose commands share pipelines: what is sent while a pipeline is under way goes with the next.

What this prevents: a connection out of the pool and back, two awaited calls for each reply, and redis-py's retries,
observability and timeouts, for every command of every response. That costs a process more than the command costs Redis,
and most of all when many responses start at once.

redis-py still makes the commands, and turns replies into Python's types.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import redis.asyncio as aioredis
from redis.asyncio.client import Pipeline
from redis.exceptions import ConnectionError
from typing_extensions import override

from open_responses.io.background import in_background
from open_responses.io.redis.packed_pipeline import Command, PackedPipeline
from open_responses.io.redis.redis_py_pool import is_silent

# A long reply holds up the others on its connection.
_CONNECTIONS = 3


class SharedClient(aioredis.Redis):
    """Sends each command as soon as one of a few connections is idle, together with all that wait.

    As with redis-py's own connections, a command is sent a second time if its connection breaks. No command may block.
    """

    _shared: _SharedPipelines | None = None

    @override
    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command. Raises RedisDown, and ResponseError for a command that Redis rejects."""
        (reply,) = await self._pipelines().execute([_as_sent(args)])
        if isinstance(reply, Exception):
            raise reply
        return _read(self.response_callbacks, args, options, reply)

    @override
    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        return _SharedCommands(self._pipelines(), self, transaction, shard_hint)

    @override
    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        if self._shared is not None:
            self._shared.close()
        await super().aclose(close_connection_pool)

    def _pipelines(self) -> _SharedPipelines:
        loop = asyncio.get_running_loop()
        if self._shared is None or self._shared.loop is not loop:
            self._shared = _SharedPipelines(self, loop)
        return self._shared


class _SharedCommands(Pipeline):
    """redis-py's pipeline, which goes with the commands of others. Its own stay next to each other, in their order."""

    def __init__(
        self, shared: _SharedPipelines, client: SharedClient, transaction: bool, shard_hint: str | None
    ) -> None:
        super().__init__(client.connection_pool, client.response_callbacks, transaction, shard_hint)
        self._shared = shared

    @override
    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Send the commands. Raises RedisDown, and the first ResponseError unless it is to be among the replies."""
        stack, self.command_stack = self.command_stack, []
        if not stack:
            return []
        commands = [_as_sent(args) for args, _ in stack]
        if self.is_transaction:
            replies = _of_transaction(await self._shared.execute([("MULTI",), *commands, ("EXEC",)]))
        else:
            replies = await self._shared.execute(commands)
        read = list[Any]()
        for (args, options), reply in zip(stack, replies, strict=True):
            if not isinstance(reply, Exception):
                reply = _read(self.response_callbacks, args, options, reply)
            elif raise_on_error:
                raise reply
            read.append(reply)
        return read


class _SharedPipelines:
    """The connections, and the commands that wait for one that is idle."""

    def __init__(self, client: aioredis.Redis, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._client = client
        self._all = [PackedPipeline(client) for _ in range(_CONNECTIONS)]
        self._idle = list(self._all)
        self._waiting: list[tuple[Sequence[Command], asyncio.Future[list[Any]]]] = []
        self._sending: set[asyncio.Task[None]] = set()

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands, and return their replies. Raises RedisDown; nothing is known then of what was carried out."""
        if is_silent(self._client):
            raise ConnectionError("Redis does not answer")
        future: asyncio.Future[list[Any]] = self.loop.create_future()
        self._waiting.append((commands, future))
        if self._idle:
            task = in_background("commands to Redis", self._send(self._idle.pop()))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        return await future

    def close(self) -> None:
        for pipeline in self._all:
            pipeline.close()

    async def _send(self, pipeline: PackedPipeline) -> None:
        """Send until no commands wait."""
        try:
            while self._waiting:
                taken, self._waiting = self._waiting, []
                await _send(pipeline, taken)
        finally:
            self._idle.append(pipeline)


async def _send(pipeline: PackedPipeline, taken: Sequence[tuple[Sequence[Command], asyncio.Future[list[Any]]]]) -> None:
    try:
        replies = await pipeline.execute([command for commands, _ in taken for command in commands])
    except Exception as error:  # noqa: BLE001 - each caller gets it
        for _, future in taken:
            if not future.done():
                future.set_exception(error)
        return
    except BaseException:
        for _, future in taken:
            future.cancel()
        raise
    first = 0
    for commands, future in taken:
        # A caller that was cancelled takes no replies.
        if not future.done():
            future.set_result(replies[first : first + len(commands)])
        first += len(commands)


def _as_sent(args: Command) -> Command:
    """redis-py names a command with its subcommand, as in `CLIENT ID`."""
    name = args[0]
    return (*name.split(), *args[1:]) if isinstance(name, str) and " " in name else args


def _of_transaction(replies: list[Any]) -> list[Any]:
    """The replies of a transaction's commands: those of EXEC. Raises ResponseError for one that was not carried out."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    carried_out: list[Any] = replies[-1]
    return carried_out


def _read(callbacks: MutableMapping[Any, Any], args: Command, options: Mapping[str, Any], reply: Any) -> Any:
    """A reply as redis-py's methods return it."""
    callback = callbacks.get(args[0])
    return reply if callback is None else callback(reply, **{k: v for k, v in options.items() if k != "keys"})
