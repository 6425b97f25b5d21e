"""The state that requests get, replaced when the configuration file or the keys change.

A request keeps the state that it got first (`app_state.state_of`), so it sees one configuration from its start to its
end. What this prevents: a request that is checked against one configuration and carried out with another, and a broken
file that stops a server which runs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from api.app_state import AppState, ConfigurationStatus
from api.key_ring import ring_of
from open_responses.api_keys.state import StoredKey
from open_responses.io.config_changes import changes_between
from open_responses.io.config_watch import ConfigWatch
from open_responses.io.metrics import recording as metrics
from open_responses.io.settings import ConfigError

log = structlog.get_logger(__name__)


class LiveState:
    """Makes each state, and hands it to `publish`."""

    def __init__(self, state: AppState, publish: Callable[[AppState], None]) -> None:
        self._state = state
        self._file = state.settings.config
        self._stored: Sequence[StoredKey] = ()
        self._publish = publish
        self._is_complete = False
        self.has_keys = asyncio.Event()
        """Whether callers need a key, in which case keys that are made at run time are in force as well."""
        self._renew(state.configuration)

    def take_keys(self, keys: Sequence[StoredKey]) -> None:
        """Put the keys into force that were made at run time."""
        self._stored, self._is_complete = keys, True
        self._renew(self._state.configuration)

    async def reload_on(self, watch: ConfigWatch) -> None:
        """Read the file after each of its changes, until cancelled."""
        async for _ in watch.changes():
            await self.reload()

    async def reload(self) -> None:
        """Put the file into force as it is now. If it is broken, what is in force stays."""
        old = self._file
        try:
            new = await asyncio.to_thread(self._state.settings.read_config)
            if old.api_keys and not new.api_keys:
                raise ConfigError(
                    f"{self._state.settings.config_path}: api_keys: the last [[api_keys]] table is gone, and a server "
                    "without any needs no key. Put one back, or restart the server if that is what you want"
                )
        except ConfigError as error:
            log.error("configuration_refused", reason=str(error), in_force="the configuration as it was")
            metrics.configuration_rejected()
            self._renew(replace(self._state.configuration, error=str(error)))
            return
        self._file = new
        self._state = replace(self._state, admission=self._state.admission.with_providers(new.providers))
        changes = changes_between(old, new)
        if changes or self._state.configuration.error is not None:
            log.info("configuration_reloaded", file=self._state.settings.config_path, changes=changes)
        metrics.configure(new, "api")
        self._state.readings.providers = tuple(provider.name for provider in new.providers)
        self._renew(ConfigurationStatus(loaded_at=time.time()))

    def _renew(self, configuration: ConfigurationStatus) -> None:
        config = self._file
        ring = ring_of(config.api_keys, self._stored, is_complete=self._is_complete)
        if config.api_keys:
            self.has_keys.set()
            in_force = tuple(key.config for key in ring.by_hash.values() if key.end is None)
            config = config.model_copy(update={"api_keys": in_force})
        self._state = replace(
            self._state, settings=self._state.settings.with_config(config), keys=ring, configuration=configuration
        )
        self._publish(self._state)
