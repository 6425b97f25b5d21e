"""Redis keys of ours that would live for ever: none may, since nothing else removes what a process leaves behind."""

from __future__ import annotations

import time

import redis as sync_redis

from tests.support.stack import Stack

LASTING: dict[str, str] = {}
"""Beginnings of the names of keys that have no time to live, each with the reason. There are none."""

# In one command, so that it sees no key between the commands of a pipeline that creates it.
_WITHOUT_TTL = """
local found = {}
for _, name in ipairs(redis.call('KEYS', 'or:*')) do
    if redis.call('PTTL', name) == -1 then found[#found + 1] = name end
end
return found
"""
_LOOKS_SECONDS = 3.0


def check_lasting_keys(stack: Stack) -> None:
    """Raises AssertionError with the names of the keys that have no time to live. A Redis that is down has none."""
    valkey = stack.processes.get("valkey")
    if valkey is not None and valkey.poll() is None:
        assert keys_without_ttl(stack.redis_url) == [], "keys without a time to live: tests/support/lasting_keys.py"


def keys_without_ttl(redis_url: str) -> list[str]:
    """Names of the keys that have no time to live and are no exception. A key that has none only for a moment, since a
    test is about to remove it, is looked at again. Raises redis.ConnectionError."""
    client = sync_redis.Redis.from_url(redis_url, socket_timeout=20, socket_connect_timeout=20)
    deadline = time.monotonic() + _LOOKS_SECONDS
    try:
        while True:
            names = [name.decode() for name in client.eval(_WITHOUT_TTL, 0)]  # type: ignore[union-attr]
            found = sorted(name for name in names if not name.startswith(tuple(LASTING)))
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.1)
    finally:
        client.close()
