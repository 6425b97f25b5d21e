"""Checks that this process has the encryption keys of the other processes with the same Temporal and Redis.

What this prevents: a process without the keys, or with other keys, whose payloads are in clear, or unreadable for the
other processes.

The check reads the newest responses and conversations in Temporal. For the time before there are any, each process with
keys writes the name of its newest key to Redis.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeAlias

import structlog
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.service import RPCError

from open_responses.conversations.payloads import CONVERSATION_WORKFLOW
from open_responses.ids import is_id
from open_responses.io.redis import key_names as redis_keys
from open_responses.io.redis.client import Redis, RedisDown
from open_responses.io.sealing import key_id
from open_responses.io.settings import ConfigError
from open_responses.io.temporal.codec import encryption_key
from open_responses.loop.payloads.names import WORKFLOW

log = structlog.get_logger(__name__)

_SAMPLE = 5
_PATIENCE_SECONDS = 3.0
_AGAIN_SECONDS = 2.0
_VARIABLE = "OPEN_RESPONSES_ENCRYPTION_KEYS"

Found: TypeAlias = str | Literal["clear"] | None
"""The name of a key; "clear" for payloads that are not encrypted; None if there are no payloads."""


async def check_keys(redis: Redis, temporal: Client, keys: Sequence[bytes], *, ttl_seconds: int) -> bool:
    """Check the keys against those in use.

    Returns:
        Whether both Temporal and Redis answered.

    Raises:
        ConfigError: A key in use is not among `keys`.
    """
    own = [key_id(key) for key in keys]
    written, has_read = await _ask(_newest_written(temporal))
    _compare(own, written, "The newest responses in Temporal are")
    marked, has_looked = await _ask(_marked(redis))
    _compare(own, marked, f"The other processes say in Redis ({redis_keys.ENCRYPTION}) that payloads are")
    if own and has_looked:
        _, has_looked = await _ask(_mark(redis, own[0], ttl_seconds))
    if own and written == "clear" and marked is None:
        log.warning(
            "encryption_begins",
            key=own[0],
            meaning="what was written until now is in clear and stays so; all other processes need these keys as well",
        )
    return has_read and has_looked


async def keep_checking(check: Callable[[], Awaitable[bool]], stop: Callable[[], None]) -> None:
    """Repeat the check until Temporal and Redis have answered. Calls `stop`, which ends the process, for wrong keys."""
    try:
        while True:
            if await check():
                return
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # A client that is connecting replaces the cancellation by its own error.
                raise asyncio.CancelledError
            await asyncio.sleep(_AGAIN_SECONDS)
    except ConfigError as error:
        log.error("stopped_for_its_encryption_keys", reason=str(error))
        stop()


async def lacks_marked_key(redis: Redis, keys: Sequence[bytes]) -> bool:
    """Whether another process has begun to encrypt with a key that this one does not have. Raises RedisDown."""
    marked = await _marked(redis)
    return marked is not None and marked not in [key_id(key) for key in keys]


def _compare(own: Sequence[str], found: Found, what: str) -> None:
    if found in (None, "clear") or found in own:
        return
    if own:
        raise ConfigError(
            f"{_VARIABLE}: {what} encrypted with key {found}, which is not among those given ({', '.join(own)}). Give "
            "all processes the same keys; to rotate, put the new key in front of the old one."
        )
    raise ConfigError(
        f"{_VARIABLE} is not set. {what} encrypted with key {found}: this process would write in clear. Give it the "
        "keys that the others have."
    )


async def _ask(question: Awaitable[Found]) -> tuple[Found, bool]:
    """The result, and whether the service answered."""
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await question, True
    except (TimeoutError, RPCError, OSError, *RedisDown) as error:
        log.info("encryption_not_checked", reason=str(error) or type(error).__name__)
        return None, False


async def _newest_written(temporal: Client) -> Found:
    found: Found = None
    query = f"WorkflowType IN ('{WORKFLOW}', '{CONVERSATION_WORKFLOW}')"
    async for one in temporal.list_workflows(query, limit=_SAMPLE):
        async for event in temporal.get_workflow_handle(one.id, run_id=one.run_id).fetch_history_events(page_size=1):
            for payload in event.workflow_execution_started_event_attributes.input.payloads:
                name = _key_of(payload)
                if name not in (None, "clear"):
                    return name
                found = found or name
            break
    return found


def _key_of(payload: Payload) -> Found:
    """The name of the key. None for the key of a single response, and for a payload in a file: neither is compared."""
    name = encryption_key(payload)
    if name is not None:
        return None if is_id("resp_", name) else name
    encoding = payload.metadata.get("encoding", b"")
    return "clear" if encoding in (b"json/plain", b"binary/zstd") else None


async def _marked(redis: Redis) -> Found:
    name = await redis.get(redis_keys.ENCRYPTION)
    return name.decode() if isinstance(name, bytes) else name


async def _mark(redis: Redis, name: str, ttl_seconds: int) -> Found:
    await redis.set(redis_keys.ENCRYPTION, name, ex=ttl_seconds)
    return name
