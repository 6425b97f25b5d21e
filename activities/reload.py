"""Puts a changed configuration file into force while the worker runs.

What this prevents: a restart of each worker for a new route, and a broken file of which one half is in force. The
worker loads everything that the file names before its activities use any of it. A running activity keeps the
configuration with which it began.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import httpx
import structlog

from activities.ingestion.ingest import IngestionActivities
from activities.middleware_loader import load_middleware
from activities.providers.registry import build_providers
from activities.sampling.sample import SampleActivity
from activities.tool_calls.built_in import BuiltInToolActivity
from activities.tool_calls.mcp import McpActivities
from activities.tool_calls.runner import HostedToolActivity, ToolRunner
from activities.tools.registry import definitions, load_tools
from activities.webhooks.send import SendActivity
from activities.worker.model_list_refresher import ModelListRefresher
from open_responses.config import Config
from open_responses.contracts import Middleware, Provider, Tool
from open_responses.io.config_changes import changes_between
from open_responses.io.config_watch import ConfigWatch
from open_responses.io.metrics import recording as metrics
from open_responses.io.settings import ConfigError, Settings
from open_responses.tool_use.built_in_engine import BuiltInEngine

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, with the providers, tools and middlewares that it names."""

    config: Config
    tools: Mapping[str, Tool]
    middleware: Sequence[Middleware]
    providers: Mapping[str, Provider]
    engines: Mapping[str, BuiltInEngine] = field(default_factory=dict)


def _no_engines(_: Config, __: Loaded) -> Mapping[str, BuiltInEngine]:
    """For a configuration without built-in tools."""
    return {}


@dataclass(frozen=True, slots=True)
class Configured:
    """A user of the configuration. It reads the parts of the configuration when an activity begins."""

    sample: SampleActivity
    runner: ToolRunner
    hosted: HostedToolActivity
    mcp: McpActivities
    built_in: BuiltInToolActivity
    model_lists: ModelListRefresher
    ingestion: IngestionActivities
    webhooks: SendActivity

    def put(self, loaded: Loaded) -> None:
        """Use this configuration for every activity that begins from now on."""
        self.sample.parts = replace(
            self.sample.parts,
            prices=self.sample.parts.prices.with_providers(loaded.config.providers),
            providers=loaded.providers,
            adapters={provider.name: provider.adapter for provider in loaded.config.providers},
            definitions=definitions(loaded.config, loaded.tools),
            middleware=loaded.middleware,
        )
        self.runner.middleware = loaded.middleware
        self.hosted.tools = loaded.tools
        self.mcp.config = loaded.config
        self.ingestion.config = loaded.config
        self.sample.parts.contexts.inline_bytes = loaded.config.files.max_inline_bytes
        self.built_in.engines = loaded.engines
        self.webhooks.config = loaded.config
        self.model_lists.configure(loaded.config, loaded.providers)


class WorkerReload:
    """Reads the file again, and passes the loaded parts to `put`."""

    def __init__(
        self,
        settings: Settings,
        loaded: Loaded,
        http: httpx.AsyncClient,
        environ: Mapping[str, str],
        put: Callable[[Loaded], None],
        load_engines: Callable[[Config, Loaded], Mapping[str, BuiltInEngine]] = _no_engines,
    ) -> None:
        self._settings = settings
        self._loaded = loaded
        self._http = http
        self._environ = environ
        self._put = put
        self._load_engines = load_engines
        self._error: str | None = None
        self._one_at_a_time = asyncio.Lock()

    async def run(self, watch: ConfigWatch) -> None:
        """Read the file after each of its changes, until cancelled."""
        async for _ in watch.changes():
            await self.reload()

    async def reload(self) -> None:
        """Put the present file into force. If a part of it cannot be used, the configuration in force stays."""
        async with self._one_at_a_time:
            try:
                loaded = await asyncio.to_thread(self._load)
            except (ConfigError, ValueError) as error:
                self._refuse(str(error))
                return
            except Exception as error:  # noqa: BLE001 - the border to tools and adapters, whose modules are imported
                self._refuse(f"{type(error).__name__} while its modules were imported")
                return
            changes = changes_between(self._loaded.config, loaded.config)
            if changes or self._error is not None:
                log.info("configuration_reloaded", file=self._settings.config_path, changes=changes)
            self._error, self._loaded = None, loaded
            self._put(loaded)
            metrics.configure(loaded.config, "worker")

    def _refuse(self, reason: str) -> None:
        self._error = reason
        metrics.configuration_rejected()
        log.error("configuration_refused", reason=reason, in_force="the configuration as it was")

    def _load(self) -> Loaded:
        """Load the parts. A part that has not changed stays the same object, because adapters and middlewares may keep
        state in memory."""
        old, config = self._loaded, self._settings.read_config()
        tools = load_tools(config)
        known = {tool.name: tool for tool in old.config.tools}
        kept = {
            tool.name: old.tools[tool.name]
            for tool in config.tools
            if tool.name in tools and known.get(tool.name) == tool
        }
        same = {provider.name for provider in config.providers if provider in old.config.providers}
        fresh = config.model_copy(update={"providers": tuple(p for p in config.providers if p.name not in same)})
        return Loaded(
            config=config,
            tools={**tools, **kept},
            middleware=old.middleware if config.middleware == old.config.middleware else load_middleware(config),
            providers={
                **{name: provider for name, provider in old.providers.items() if name in same},
                **build_providers(fresh, self._http, self._environ),
            },
            engines=self._load_engines(config, old),
        )
