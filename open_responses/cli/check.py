"""`open_responses check`: whether this machine's configuration can serve, part by part."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass

from open_responses.cli.tables import print_json, print_table
from open_responses.config import BUILT_IN_ROUTES, Config, RouteConfig
from open_responses.io.settings import ConfigError, Settings, load_settings
from open_responses.schema.webhooks import secret_problem

_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Found:
    """What was checked, and the problem with it; None if there is none."""

    part: str
    problem: str | None


def run(args: argparse.Namespace) -> int:
    """Check everything, also behind the first problem. Returns 1 if there is one."""
    found = asyncio.run(_found(stay=args.stay))
    if args.json:
        print_json([{"part": one.part, "ok": one.problem is None, "problem": one.problem} for one in found])
    else:
        print_table(
            ("part", "", "problem"),
            [(one.part, "ok" if one.problem is None else "FAILS", one.problem or "") for one in found],
        )
    return int(any(one.problem is not None for one in found))


async def _found(*, stay: bool) -> list[Found]:
    try:
        settings = load_settings()
    except ConfigError as error:
        return [Found("configuration", str(error))]
    found = [Found("configuration", None), *_files(settings, stay=stay)]
    if not stay:
        # A first import takes seconds on a busy machine, which are none of the part's.
        import open_responses.io.redis.client
        import open_responses.io.temporal.client  # noqa: F401

        checks = {"Temporal": _temporal(), "Redis": _redis(settings), "files folder": _same_folder(settings)}
        problems = await asyncio.gather(*(_problem(check) for check in checks.values()))
        found += [Found(part, problem) for part, problem in zip(checks, problems, strict=True)]
        found += await _providers(settings)
    return found


def _files(settings: Settings, *, stay: bool) -> Iterator[Found]:
    """What a worker imports as it starts, its files, and the keys that providers and MCP servers need."""
    # Here, because they import the adapters and the operator's own modules.
    import httpx

    from activities.middleware_loader import load_middleware
    from activities.providers.registry import build_providers
    from activities.tool_calls.built_in_engines import check_engines
    from activities.tools.registry import load_tools
    from open_responses.io.files.folder import configured_folder
    from open_responses.io.sealing import configured_keys

    config = settings.config
    for part, load in (
        ("encryption keys", lambda: configured_keys(settings.encryption_keys)),
        ("tools", lambda: load_tools(config)),
        ("built-in tools", lambda: check_engines(config)),
        ("middleware", lambda: load_middleware(config)),
        ("adapters", lambda: build_providers(config, httpx.AsyncClient(), os.environ)),
    ):
        try:
            load()
        except (ValueError, ConfigError) as error:
            yield Found(part, str(error))
        else:
            yield Found(part, None)
    try:
        folder = configured_folder(settings, os.environ)
        is_away = stay and config.vector_stores.database_env is not None
        yield Found("files", folder.folder_problem() if is_away else folder.problem())
    except ConfigError as error:
        yield Found("files", str(error))
    yield from _webhooks(config)
    search = config.web_search
    if search is not None and search.api_key_env is not None and not os.environ.get(search.api_key_env):
        yield Found("key of [web_search]", f"{search.api_key_env} is not set: each search fails")
    routed = {route.provider for route in config.routes}
    for provider in config.providers:
        variable = provider.api_key_env
        own = [route for route in settings.config.routes if route.provider == provider.name]
        if provider.name in routed and variable is not None and not os.environ.get(variable) and _is_own(own):
            yield Found(f"key of {provider.name}", f"{variable} is not set: only requests with a key of their own work")


def _webhooks(config: Config) -> Iterator[Found]:
    """The secrets that webhooks of the file are signed with."""
    for key in config.api_keys:
        for name in {name for hook in key.webhooks for name in hook.secrets_env}:
            secret = os.environ.get(name)
            problem = "is not set" if not secret else secret_problem(secret)
            if problem is not None:
                yield Found(f"webhook of {key.tenant}", f"{name} {problem}")


def _is_own(routes: Sequence[RouteConfig]) -> bool:
    """Whether a route of the file leads there. The built-in ones wait for a key that may never be set."""
    return any(route not in BUILT_IN_ROUTES for route in routes)


async def _providers(settings: Settings) -> list[Found]:
    """Whether the providers of the file's routes answer. Each is asked for its models, which costs nothing.

    One without its key is left out: `_files` names it.
    """
    from activities.providers.registry import build_providers
    from activities.providers.shared.http import open_http_client
    from open_responses.contracts import ListsModels
    from open_responses.errors import ProviderError, ProviderRejected

    config = settings.config

    async def ask(adapter: ListsModels) -> None:
        try:
            await adapter.list_models()
        except ProviderRejected:
            # It answers. Some servers of the same API have no list of models.
            return
        except ProviderError as error:
            raise _Problem(f"{error.error_code}: {error.message}") from error

    async with open_http_client() as http:
        try:
            adapters = build_providers(config, http, os.environ)
        except ValueError:
            # `adapters` has said so.
            return []
        asked = {
            provider.name: _problem(ask(adapter))
            for provider in config.providers
            if _is_own([route for route in config.routes if route.provider == provider.name])
            and (provider.api_key_env is None or os.environ.get(provider.api_key_env))
            and isinstance(adapter := adapters[provider.name], ListsModels)
        }
        problems = await asyncio.gather(*asked.values())
    return [Found(f"provider {name}", problem) for name, problem in zip(asked, problems, strict=True)]


class _Problem(Exception):
    """What is wrong, in words."""


async def _temporal() -> None:
    from open_responses.io.temporal.client import TemporalAway, connect, temporal_address

    try:
        client = await connect(None)
        await client.count_workflows("WorkflowId = 'none'")
    except TemporalAway as error:
        reason = "connection refused" if "refused" in str(error).lower() else str(error)
        raise _Problem(f"cannot be reached at {temporal_address()} (TEMPORAL_ADDRESS): {reason}") from error


async def _redis(settings: Settings) -> None:
    from open_responses.io.redis.client import IS_CLUSTER, connect, is_cluster

    client = connect(settings.redis_url, patience_seconds=_PATIENCE_SECONDS)
    try:
        await client.ping()
        if await is_cluster(client):
            raise _Problem(IS_CLUSTER)
    finally:
        await client.aclose()


async def _same_folder(settings: Settings) -> None:
    """Whether the running processes have the files folder of this machine's settings."""
    from open_responses.io.files.folder import configured_folder
    from open_responses.io.files.folder_agreement import difference
    from open_responses.io.redis.client import RedisDown, connect

    client = connect(settings.redis_url, patience_seconds=_PATIENCE_SECONDS)
    try:
        problem = await difference(client, configured_folder(settings, os.environ).mark, claims=False)
    except (ConfigError, OSError, *RedisDown):
        # `files` or `Redis` has said so.
        return
    finally:
        await client.aclose()
    if problem is not None:
        raise _Problem(problem)


async def _problem(check: Awaitable[None]) -> str | None:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await check
    except TimeoutError:
        return f"no answer within {_PATIENCE_SECONDS:g} s"
    except Exception as error:  # noqa: BLE001 - the border to the operator, who reads the message
        return str(error) or type(error).__name__
    return None
