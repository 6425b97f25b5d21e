"""Makes the engines of the built-in tools that the configuration enables, one row for each tool."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx
from temporalio.client import Client

from open_responses.config import Config
from open_responses.io.files.folder import FilesFolder
from open_responses.io.redis.client import Redis
from open_responses.io.sealing import Sealer
from open_responses.io.settings import Settings
from open_responses.io.temporal.payload_keys import ResponseKeys
from open_responses.tool_use.built_in_engine import BuiltInEngine
from open_responses.tool_use.file_search import FILE_SEARCH


@dataclass(frozen=True, slots=True)
class EngineParts:
    """The clients and settings of the worker that engines may use."""

    settings: Settings
    redis: Redis
    temporal: Client
    http: httpx.AsyncClient
    environ: Mapping[str, str]
    sealer: Sealer
    response_keys: ResponseKeys
    folder: FilesFolder


EngineFactory = Callable[[Config, EngineParts], BuiltInEngine]


def _code_interpreter(config: Config, parts: EngineParts) -> BuiltInEngine:
    from activities.tool_calls.code_folders import CodeFolders
    from activities.tools.code_interpreter.code import EmbeddedPython
    from activities.tools.code_interpreter.engine import CodeInterpreter
    from activities.tools.code_interpreter.sandbox import Slots, sandbox_of, wait_seconds_of
    from open_responses.io.store.containers import Containers

    _check_sandbox(config)
    table = config.code_interpreter
    assert table is not None
    idle_seconds = table.idle_hours * 3600
    containers = Containers(
        parts.settings.blobs,
        parts.sealer,
        parts.response_keys,
        idle_seconds=idle_seconds,
        call_seconds=table.timeout_seconds,
    )
    slots = Slots(table.processes, wait_seconds=wait_seconds_of(table))
    most_bytes = table.max_files_mb * 2**20
    folders = CodeFolders(
        parts.folder.files, containers, most_bytes=most_bytes, most_tenant_bytes=table.max_tenant_mb * 2**20
    )
    if table.backend == "bubblewrap":
        from activities.tools.code_interpreter.bubblewrap import bubblewrap_of

        return CodeInterpreter(bubblewrap_of(table, written_bytes=most_bytes), containers, folders, slots)
    return CodeInterpreter(EmbeddedPython(sandbox_of(table, written_bytes=most_bytes)), containers, folders, slots)


def _programs(config: Config, _: EngineParts) -> BuiltInEngine:
    from activities.tools.code_interpreter.programs import Programs
    from activities.tools.code_interpreter.sandbox import sandbox_of

    table = config.programmatic_tool_calling
    assert table is not None
    return Programs(sandbox_of(table), most_parallel=table.max_parallel)


def _web_search(config: Config, parts: EngineParts) -> BuiltInEngine:
    from activities.tool_calls.page_extraction import PageExtraction
    from activities.tools.web_search.engine import engine_of

    return engine_of(config, parts.environ, PageExtraction())


def _file_search(config: Config, parts: EngineParts) -> BuiltInEngine:
    from activities.tools.file_search.engine import FileSearchEngine
    from open_responses.io.files.tool_search import ToolSearch

    return FileSearchEngine(ToolSearch(parts.folder, config, parts.environ))


# Of each tool with an engine of the server's own. A factory imports its room when it is called, so that a worker
# without the tool does not.
_FACTORIES: Mapping[str, EngineFactory] = {
    "code_interpreter": _code_interpreter,
    "programmatic_tool_calling": _programs,
    "web_search": _web_search,
    FILE_SEARCH: _file_search,
}


# The packages of the engines that a worker imports when the first call comes.
_NEEDED: Mapping[str, str] = {
    "code_interpreter": "pydantic_monty",
    "programmatic_tool_calling": "pydantic_monty",
    "web_search": "trafilatura",
}


def _read_beside(config: Config) -> object:
    """What engines read of the configuration beside the tables of their tools."""
    return config.mcp_servers, config.vector_stores, config.providers


def load_engines(
    config: Config, parts: EngineParts, *, old: Config | None = None, kept: Mapping[str, BuiltInEngine] | None = None
) -> dict[str, BuiltInEngine]:
    """The engines by the names of their tools. Raises ValueError for one that cannot be loaded.

    Args:
        config: The configuration.
        parts: The worker's clients and settings.
        old: The configuration that was in force before.
        kept: Its engines. One whose table has not changed stays, unless what engines read beside it has.
    """
    before = {} if old is None or _read_beside(old) != _read_beside(config) else old.built_in_tools
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
    """Raises ValueError for an engine that cannot be loaded, as far as that shows without a server."""
    for name, table in config.built_in_tools.items():
        if table.target is not None:
            _own_engine(name, table.target)
        else:
            _factory(name)
    _check_sandbox(config)


async def close_engines(engines: Mapping[str, BuiltInEngine]) -> None:
    """End the processes of the engines that have some."""
    for engine in engines.values():
        close = getattr(engine, "close", None)
        if close is not None:
            await close()


def _check_sandbox(config: Config) -> None:
    """Raises ValueError for a sandbox that this machine does not have."""
    table = config.code_interpreter
    if table is None or table.backend != "bubblewrap":
        return
    command = table.bubblewrap.command
    if shutil.which(command) is None:
        raise ValueError(
            f"[code_interpreter.bubblewrap]: there is no program {command!r}. Install bubblewrap on each machine of a "
            "worker, or correct 'command'"
        )
    if os.getuid() == 0 and shutil.which("setpriv") is None:
        raise ValueError(
            "[code_interpreter]: the backend 'bubblewrap' needs the program 'setpriv' where the worker is root. "
            "Install util-linux, or run the worker as another user"
        )
    if shutil.which(table.bubblewrap.python) is None:
        raise ValueError(
            f"[code_interpreter.bubblewrap]: there is no Python at {table.bubblewrap.python!r}: correct 'python'"
        )


def _factory(name: str) -> EngineFactory:
    needed = _NEEDED.get(name)
    if needed is not None and importlib.util.find_spec(needed) is None:
        raise ValueError(f"[{name}] needs the package {needed!r}: install it, or remove the table")
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
