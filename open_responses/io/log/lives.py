"""Lives of a log: each time that Redis loses a log's state, the log that is written next has another life.

What this prevents: a worker is frozen, another takes over, and the first one resumes after Redis has lost the fence.
Without lives, the first worker would write its log again, and the newer worker would continue after those events.

An append names the life that its writer knows, and Redis rejects it in any other life. The writer then enters the life
that it finds, or begins one, and only after that asks Temporal whether it is still the current writer. If Temporal
confirms that, every newer writer begins later, in this life, and sets its fence there, so the fence of a newer writer
cannot be missing.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, script

ANY_LIFE = b"*"
"""The life of a writer whose events follow from history alone: it writes in every life of the log."""
NO_LIFE = b""
"""The life of a writer that could not take the log over: it enters a life before its first event."""

_ENTER = script("log/enter_life.lua")


@dataclass(frozen=True, slots=True)
class Authority:
    """Tells a writer whether it is still the current one after a loss of the log.

    `is_current` queries Temporal, and raises RPCError during an outage. `run_id` is the run of the workflow for which
    the writer writes; the log's state has it from the writer's next event on.
    """

    is_current: Callable[[], Awaitable[bool]]
    run_id: bytes


def new_life() -> bytes:
    """Return a random name for a life."""
    return secrets.token_hex(6).encode()


async def enter(redis: Redis, response_id: str, fence: int, *, ttl: int) -> bytes:
    """Return the life of this log, and begin one if the log has none.

    Empty if a newer writer owns the log. Raises RedisDown.
    """
    life: bytes = await redis.eval(_ENTER, 1, key_names.state(response_id), fence, new_life(), ttl)
    return life
