"""The providers' lists of models, in Redis. A worker writes them, the API reads them.

A list may be lost until a worker writes it again. Without a list, the models of a provider are those that routes name.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence

import orjson

from open_responses.config import ProviderConfig
from open_responses.contracts import ListedModel
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, RedisError

_TTL_SECONDS = 3600
# The API does not wait longer for Redis: it can do without a list.
_READ_SECONDS = 1.0


class ModelLists:
    """A list for each provider, and a refresh lock, so that one worker at a time requests it."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def read(self, providers: Sequence[ProviderConfig]) -> dict[str, dict[str, ListedModel]]:
        """Provider's name -> id -> model, of the providers with a list. Empty while Redis cannot be reached."""
        try:
            async with asyncio.timeout(_READ_SECONDS):
                found = await self._redis.mget([key_names.models(_digest(provider)) for provider in providers])
        except (RedisError, OSError):
            return {}
        return {
            provider.name: {model_id: ListedModel(model_id, *rest) for model_id, *rest in orjson.loads(listed)}
            for provider, listed in zip(providers, found, strict=True)
            if listed is not None
        }

    async def write(self, provider: ProviderConfig, models: Sequence[ListedModel]) -> None:
        """Store a provider's list for an hour. Raises RedisError, OSError."""
        rows = [(model.id, model.created, model.owned_by) for model in models]
        await self._redis.set(key_names.models(_digest(provider)), orjson.dumps(rows), ex=_TTL_SECONDS)

    async def take_refresh_lock(self, provider: ProviderConfig, seconds: float) -> bool:
        """Take the refresh lock for so many seconds. False if another worker has it. Raises RedisError, OSError."""
        return bool(
            await self._redis.set(key_names.models_refresh(_digest(provider)), b"", px=_milliseconds(seconds), nx=True)
        )

    async def keep_refresh_lock(self, provider: ProviderConfig, seconds: float) -> None:
        """Keep the refresh lock taken for so many seconds more: the pause before the next refresh.

        Raises RedisError, OSError.
        """
        await self._redis.set(key_names.models_refresh(_digest(provider)), b"", px=_milliseconds(seconds))


def _digest(provider: ProviderConfig) -> str:
    """The key of a provider's list. It changes with the adapter and the address, which have other models."""
    identity = "\n".join((provider.name, provider.adapter, provider.base_url))
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))
