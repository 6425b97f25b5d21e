"""Lives of a log: each time that Redis loses a log's state, the log that is written next has another life.

What this prevents: a worker that was frozen while another took over wakes up when Redis has lost the fence. It would
write its log again, and the newer worker would go on behind that.

An append names the life that its writer knows, and is refused in any other. The writer then enters the life that it
finds, or begins one, and only after that asks Temporal whether it is still the one that is to write. If it is, each
newer writer begins in this life, and leaves its fence there: no newer one is unknown to this life.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, script

ANY_LIFE = b"*"
"""Of a writer whose events follow from history alone: it writes in each life that the log has."""
NO_LIFE = b""
"""Of a writer that could not take the log over: it enters a life before its first event."""

_ENTER = script("log/enter_life.lua")


@dataclass(frozen=True, slots=True)
class Authority:
    """How a writer finds out, behind a loss of the log, whether it is still the one that is to write.

    `is_current` asks Temporal. It raises RPCError while Temporal is away. `run_id` is the run of the workflow for which
    it writes; the log's state names it from the writer's next event on.
    """

    is_current: Callable[[], Awaitable[bool]]
    run_id: bytes


def new_life() -> bytes:
    return secrets.token_hex(6).encode()


async def enter(redis: Redis, response_id: str, fence: int, *, ttl: int) -> bytes:
    """The life of this log; a new one, if it has none. Empty where a newer writer owns the log. Raises RedisDown."""
    life: bytes = await redis.eval(_ENTER, 1, key_names.state(response_id), fence, new_life(), ttl)
    return life
