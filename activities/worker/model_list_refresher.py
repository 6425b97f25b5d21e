"""Refreshes the providers' lists of models. A background task of the worker, since the API never calls providers.

All workers check often, and one of them calls the providers. The refresh lock is in Redis, so the workers notice a
flush within seconds, and the lock of a worker that dies during its calls expires soon.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping

import structlog

from open_responses.config import Config, ProviderConfig
from open_responses.contracts import ListedModel, ListsModels, Provider
from open_responses.errors import OpenResponsesError
from open_responses.io.redis.client import RedisError
from open_responses.io.redis.model_lists import ModelLists
from open_responses.models.catalog import reached_providers, usable

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 5.0
_REFRESH_SECONDS = 300.0
# The pause after a failure. The models of a provider that was down must appear soon after it is up.
_AGAIN_SECONDS = 60.0
_ASK_SECONDS = 20.0
# A worker that has the lock for this much longer than an answer may take is dead.
_GRACE_SECONDS = 10.0


class ModelListRefresher:
    """Refreshes the lists of the providers that a route uses, whose adapter lists models, and whose key is set."""

    def __init__(
        self,
        lists: ModelLists,
        config: Config,
        adapters: Mapping[str, Provider],
        environ: Mapping[str, str],
        *,
        look_seconds: float = _LOOK_SECONDS,
        refresh_seconds: float = _REFRESH_SECONDS,
        again_seconds: float = _AGAIN_SECONDS,
        ask_seconds: float = _ASK_SECONDS,
    ) -> None:
        self._lists = lists
        self._look_seconds = look_seconds
        self._refresh_seconds = refresh_seconds
        self._again_seconds = again_seconds
        self._ask_seconds = ask_seconds
        self._failing: set[str] = set()
        self._environ = environ
        self._asked: list[tuple[ProviderConfig, ListsModels, str | None]] = []
        self.configure(config, adapters)

    def configure(self, config: Config, adapters: Mapping[str, Provider]) -> None:
        """Use these providers from the next refresh on."""
        asked: list[tuple[ProviderConfig, ListsModels, str | None]] = []
        for provider in reached_providers(config):
            adapter = adapters[provider.name]
            key = self._environ.get(provider.api_key_env) if provider.api_key_env else None
            if isinstance(adapter, ListsModels) and (key or provider.api_key_env is None):
                asked.append((provider, adapter, key))
        self._asked = asked

    async def run(self) -> None:
        """Refresh until cancelled. No failure of a provider or of Redis ends it."""
        while True:
            await asyncio.gather(*(self._refresh(*one) for one in self._asked))
            await asyncio.sleep(self._look_seconds * random.uniform(0.8, 1.2))

    async def _refresh(self, provider: ProviderConfig, adapter: ListsModels, key: str | None) -> None:
        try:
            if not await self._lists.take_refresh_lock(provider, self._ask_seconds + _GRACE_SECONDS):
                return
            models = await self._ask(provider, adapter, key)
            if models is not None:
                await self._lists.write(provider, models)
            await self._lists.keep_refresh_lock(
                provider, self._again_seconds if models is None else self._refresh_seconds
            )
        except (RedisError, OSError):
            # The next refresh is soon.
            return

    async def _ask(self, provider: ProviderConfig, adapter: ListsModels, key: str | None) -> list[ListedModel] | None:
        """The provider's models. None if it fails: the last list stays until it expires.

        The failure is logged once, without its message.
        """
        try:
            async with asyncio.timeout(self._ask_seconds):
                models = usable(await adapter.list_models(), secret=key)
        except Exception as error:  # noqa: BLE001 - the border to an adapter that may be an extension's
            if provider.name not in self._failing:
                self._failing.add(provider.name)
                reason = error.error_code if isinstance(error, OpenResponsesError) else type(error).__name__
                log.info("models_not_listed", provider=provider.name, reason=reason)
            return None
        self._failing.discard(provider.name)
        return models
