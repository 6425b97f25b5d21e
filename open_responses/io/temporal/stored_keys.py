"""Finds an API key that was made at run time, for a process that does not follow their changes."""

from __future__ import annotations

from datetime import timedelta

from temporalio.client import Client

from open_responses.api_keys.state import API_KEYS_ID, KeysPage, KeysQuery, StoredKey
from open_responses.io.redis.api_keys import ApiKeyCopy
from open_responses.io.redis.client import Redis, RedisDown
from open_responses.io.temporal.describe import describe

_QUERY_TIMEOUT = timedelta(seconds=10)


async def stored_key(redis: Redis, temporal: Client, key_id: str) -> StoredKey | None:
    """The key from the copy in Redis, or from Temporal if Redis has no copy; None if there is no such key.

    Raises RPCError or WorkflowQueryFailedError where Temporal has to be asked and does not answer.
    """
    try:
        copy = await ApiKeyCopy(redis).read()
    except RedisDown:
        copy = None
    keys = await _keys_in_temporal(temporal) if copy is None else copy[1]
    return next((key for key in keys if key.id == key_id), None)


async def _keys_in_temporal(temporal: Client) -> list[StoredKey]:
    if await describe(temporal, API_KEYS_ID) is None:
        return []
    handle = temporal.get_workflow_handle(API_KEYS_ID)
    keys, start = list[StoredKey](), 0
    while True:
        page: KeysPage = await handle.query(
            "page", KeysQuery(start=start), result_type=KeysPage, rpc_timeout=_QUERY_TIMEOUT
        )
        keys += page.keys
        if page.next is None:
            return keys
        start = page.next
