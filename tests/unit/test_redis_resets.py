"""A connection to Redis that was reset while it was idle: its next command goes to a new connection.

The API's event loop, uvloop, raises a plain RuntimeError for a write to a connection that it has found closed, where
asyncio's own raises a ConnectionResetError. Each request that took such a connection was a 500.
"""

from __future__ import annotations

import asyncio
import socket
import struct

import uvloop

from open_responses.io.redis.client import connect
from open_responses.io.redis.shared_client import SharedClient


class Resetting:
    """Answers each command with `+OK`; `reset` ends all connections with a RST."""

    def __init__(self) -> None:
        self.accepted = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._writers.append(writer)
        while line := await reader.readline():
            if line.startswith(b"*"):
                for _ in range(int(line[1:])):
                    length = int((await reader.readline())[1:])
                    await reader.readexactly(length + 2)
                writer.write(b"+OK\r\n")

    def reset(self) -> None:
        for writer in self._writers:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()


async def reset_between_two_commands() -> int:
    """How many connections two commands took. Raises what the second command fails with."""
    resetting = Resetting()
    server = await asyncio.start_server(resetting.serve, "127.0.0.1", 0)
    redis = connect(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0?protocol=2")
    try:
        assert await redis.execute_command("ANY") == b"OK"
        assert isinstance(redis, SharedClient)
        (connection,) = (one._connection for one in redis._pipelines()._all if one._connection is not None)
        resetting.reset()
        async with asyncio.timeout(10):
            while not connection.is_closed:
                await asyncio.sleep(0.01)
        assert await redis.execute_command("ANY") == b"OK"
        return resetting.accepted
    finally:
        await redis.aclose()
        server.close()


def test_a_command_on_a_connection_that_was_reset_is_sent_on_a_new_one_under_uvloop() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(reset_between_two_commands()) == 2


def test_a_command_on_a_connection_that_was_reset_is_sent_on_a_new_one_under_asyncio() -> None:
    with asyncio.Runner() as runner:
        assert runner.run(reset_between_two_commands()) == 2
