"""Makes the engines of the built-in tools that the configuration enables, one row for each tool."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx
from temporalio.client import Client

from open_responses.config import Config
from open_responses.io.redis.client import Redis
from open_responses.io.settings import Settings
from open_responses.tool_use.built_in import BuiltInEngine


@dataclass(frozen=True, slots=True)
class EngineParts:
    """The clients and settings of the worker that engines may use."""

    settings: Settings
    redis: Redis
    temporal: Client
    http: httpx.AsyncClient
    environ: Mapping[str, str]


EngineFactory = Callable[[Config, EngineParts], BuiltInEngine]

# Of each tool with an engine of the server's own. A factory imports its room when it is called, so that a worker
# without the tool does not.
_FACTORIES: Mapping[str, EngineFactory] = {}


def load_engines(
    config: Config, parts: EngineParts, *, old: Config | None = None, kept: Mapping[str, BuiltInEngine] | None = None
) -> dict[str, BuiltInEngine]:
    """The engines by the names of their tools. Raises ValueError for one that cannot be had.

    Args:
        config: The configuration.
        parts: The worker's clients and settings.
        old: The configuration that was in force before.
        kept: Its engines. One whose table has not changed stays.
    """
    before = {} if old is None else old.built_in_tools
    engines: dict[str, BuiltInEngine] = {}
    for name, table in config.built_in_tools.items():
        if kept is not None and name in kept and before.get(name) == table:
            engines[name] = kept[name]
        elif table.target is not None:
            engines[name] = _own_engine(name, table.target)
        else:
            engines[name] = _factory(name)(config, parts)
    return engines


def check_engines(config: Config) -> None:
    """Raises ValueError for an engine that cannot be had, as far as that is known without a server."""
    for name, table in config.built_in_tools.items():
        if table.target is not None:
            _own_engine(name, table.target)
        else:
            _factory(name)


def _factory(name: str) -> EngineFactory:
    factory = _FACTORIES.get(name)
    if factory is None:
        raise ValueError(f"[{name}] has no target: add one, such as target = 'my_package.module:Engine'")
    return factory


def _own_engine(name: str, target: str) -> BuiltInEngine:
    module, _, attribute = target.partition(":")
    try:
        made = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"[{name}]: {target!r} cannot be imported ({error}): correct its target") from error
    engine = made() if isinstance(made, type) else made
    if not callable(getattr(engine, "run", None)):
        raise ValueError(f"[{name}]: {target!r} must be a class or an object with a method 'run'")
    found: BuiltInEngine = engine
    return found
