"""`make providers`: calls each configured provider once and says who answers.

`ARGS=--sample` also asks one tiny sample of each model that a route names in full, through its adapter. Exit code 0 if
all that have their key answered as they should, 1 if one did not, 2 for a configuration that the worker would not start
with. What is only built in, and no route of the file leads to, counts once it has a key.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import ssl
import sys
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

import httpx

from activities.providers.registry import build_providers
from activities.providers.shared.http import open_http_client
from dev.settings import DevSettings
from open_responses.config import BUILT_IN_PROVIDERS, BUILT_IN_ROUTES, Config, ProviderConfig, RouteConfig
from open_responses.contracts import ListsModels, Provider, SampleCall
from open_responses.deltas import Finish, TextDelta
from open_responses.errors import OpenResponsesError, ProviderStreamBroken
from open_responses.io.settings import LOCAL_PROVIDER, ConfigError, Settings, load_settings
from open_responses.models.catalog import is_pattern
from open_responses.schema.requests import CreateResponse

_CALL_SECONDS = 10.0
# A model that is on no machine's card yet is loaded first.
_SAMPLE_SECONDS = 60.0
# OpenAI's least for `max_output_tokens`.
_SAMPLE_TOKENS = 16
_NAMES_SHOWN = 3
_NOTHING = "—"
_REFUSED = "connection refused"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table, and whether it is as it should be."""

    cells: tuple[str, ...]
    is_good: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the tables. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="providers", description="Call each configured provider once.")
    parser.add_argument("--sample", action="store_true", help="also ask a sample of each route without a pattern")
    given = parser.parse_args(arguments)
    try:
        config = _with_local_model(load_settings()).config
        return asyncio.run(_run(config, os.environ, sample=given.sample))
    except (ConfigError, _BadAdapter) as error:
        print(f"providers: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _with_local_model(settings: Settings) -> Settings:
    """Where the file has no providers, `make dev` starts a local model, whose address its own processes know."""
    if settings.local_model_url is not None:
        return settings
    return Settings(local_model_url=_local_model_url())


def _local_model_url() -> str:
    return f"http://127.0.0.1:{DevSettings().llama_port}/v1"


class _BadAdapter(Exception):
    """The worker would not start with it."""


async def _run(config: Config, environ: Mapping[str, str], *, sample: bool) -> int:
    keys = _Keys(config, environ)
    async with open_http_client() as http:
        http.event_hooks = {"response": [_note_status]}
        try:
            adapters = build_providers(config, http, environ)
        except ValueError as error:
            raise _BadAdapter(str(error)) from error
        called = (_called(http, config, one, adapters[one.name], keys) for one in config.providers)
        rows = await asyncio.gather(*called)
        _print(("provider", "adapter", "base_url", "key", "reachable", "models", "ms"), rows, keys)
        if sample:
            asked = await asyncio.gather(*(_sampled(one, config, adapters, keys) for one in _concrete(config)))
            print()
            _print(("route", "provider", "model", "sample", "first ms", "ms"), asked, keys)
            rows += asked
    return 0 if all(row.is_good for row in rows) else 1


class _Keys:
    """The keys of the environment, which are sent and never shown."""

    def __init__(self, config: Config, environ: Mapping[str, str]) -> None:
        names = {provider.api_key_env for provider in config.providers} - {None}
        self._keys = {name: environ[name] for name in names if name and environ.get(name)}

    def of(self, provider: ProviderConfig) -> str | None:
        return self._keys.get(provider.api_key_env or "")

    def lacks(self, provider: ProviderConfig) -> bool:
        return provider.api_key_env is not None and self.of(provider) is None

    def told(self, provider: ProviderConfig) -> str:
        if provider.api_key_env is None:
            return _NOTHING
        return f"{provider.api_key_env} {'not set' if self.lacks(provider) else 'set'}"

    def hidden_in(self, text: str) -> str:
        """Without keys, which some servers repeat, and without what would move the cursor."""
        for key in self._keys.values():
            text = text.replace(key, "…")
        return "".join(letter if letter.isprintable() else " " for letter in text)


# --- whether it answers


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a call came to, in words; `models` is None where none are listed."""

    said: str
    is_good: bool
    models: Sequence[str] | None = None


_statuses: ContextVar[list[int]] = ContextVar("statuses")


async def _note_status(response: httpx.Response) -> None:
    """Adapters answer with models or with errors of ours; an operator wants to know what HTTP said."""
    if (statuses := _statuses.get(None)) is not None:
        statuses.append(response.status_code)


async def _called(
    http: httpx.AsyncClient, config: Config, provider: ProviderConfig, adapter: Provider, keys: _Keys
) -> Row:
    about = (provider.name, provider.adapter, _without_userinfo(provider.base_url), keys.told(provider))
    is_built_in = provider in BUILT_IN_PROVIDERS
    if is_built_in and keys.lacks(provider):
        return Row((*about, "no key", _NOTHING, _NOTHING), is_good=True)
    began = time.perf_counter()
    answer = await _answer(http, provider, adapter, keys.of(provider))
    milliseconds = _milliseconds(time.perf_counter() - began)
    is_local_model = provider.name == LOCAL_PROVIDER and provider.base_url == _local_model_url()
    if is_local_model and answer.said == _REFUSED:
        return Row((*about, f"{_REFUSED}: start `make dev`", _NOTHING, milliseconds), is_good=True)
    is_wanted = not is_built_in or keys.of(provider) is not None or _is_used(config, provider)
    is_good = answer.is_good or keys.lacks(provider) or not is_wanted
    return Row((*about, answer.said, _told(answer.models), milliseconds), is_good)


def _is_used(config: Config, provider: ProviderConfig) -> bool:
    """Whether a route of the file leads there, by itself or as a fallback."""
    own = [route for route in config.routes if route not in BUILT_IN_ROUTES]
    fallbacks = [config.route(model) for route in own for model in route.fallbacks]
    return any(route is not None and route.provider == provider.name for route in [*own, *fallbacks])


async def _answer(http: httpx.AsyncClient, provider: ProviderConfig, adapter: Provider, key: str | None) -> _Answer:
    statuses: list[int] = []
    _statuses.set(statuses)
    models: list[str] | None = None
    failure: Exception | None = None
    try:
        async with asyncio.timeout(_CALL_SECONDS):
            if isinstance(adapter, ListsModels):
                models = sorted(str(model.id) for model in await adapter.list_models())
            else:
                # An API of which nothing is known here: the address itself, without the key.
                await http.get(provider.base_url, timeout=None)
    except TimeoutError:
        return _Answer(f"no answer in {_CALL_SECONDS:.0f} s", is_good=False)
    except Exception as error:  # noqa: BLE001 - the border to an adapter that may be somebody else's
        failure = error
    if failure is not None and (not statuses or isinstance(failure.__cause__ or failure, httpx.HTTPError)):
        return _Answer(_in_words(failure), is_good=False)
    if not statuses:
        # The adapter has a client of its own.
        return _Answer("listed", is_good=True, models=models)
    return _read(statuses[-1], models, key, lists=isinstance(adapter, ListsModels))


def _read(status: int, models: Sequence[str] | None, key: str | None, *, lists: bool) -> _Answer:
    said = f"HTTP {status}"
    if not lists:
        # Whatever it answers, it is there.
        return _Answer(said, is_good=status < 500)
    if status == HTTPStatus.OK:
        return _Answer(said if models is not None else f"{said}, but no list of models", models is not None, models)
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
        # Some servers of the same API list no models.
        return _Answer(f"{said}: no list of models there; is base_url right?", is_good=True)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return _Answer(f"{said}: too many requests", is_good=True)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return _Answer(f"{said}: {'the key is refused' if key else 'it wants a key'}", is_good=False)
    return _Answer(f"{said}: {_phrase(status)}", is_good=False)


def _told(models: Sequence[str] | None) -> str:
    if models is None:
        return _NOTHING
    more = ", …" if len(models) > _NAMES_SHOWN else ""
    return f"{len(models)}: {', '.join(models[:_NAMES_SHOWN])}{more}" if models else "0"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase.lower()
    except ValueError:
        return "no status that HTTP knows"


def _in_words(error: Exception) -> str:
    """What kept us from an answer, by the first cause that says."""
    cause: BaseException | None = error
    while cause is not None:
        match cause:
            case ConnectionRefusedError():
                return _REFUSED
            case socket.gaierror():
                return "no such host"
            case ssl.SSLCertVerificationError():
                return f"certificate not accepted: {cause.verify_message}"
            case ssl.SSLError():
                return "no TLS there"
            case httpx.TimeoutException():
                return "no answer in time"
            case OpenResponsesError() if cause.__cause__ is None:
                return cause.message
            case httpx.InvalidURL() | httpx.UnsupportedProtocol():
                return "base_url is no address"
            case ValueError():
                return f"cannot be asked: {cause}"
        cause = getattr(cause, "os_error", None) or cause.__cause__ or cause.__context__
    return "the connection failed"


def _without_userinfo(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "…"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


# --- whether it speaks


def _concrete(config: Config) -> list[RouteConfig]:
    """The routes that name one model, and win for it."""
    return [r for r in config.routes if not is_pattern(r) and config.route(r.model) is r]


async def _sampled(route: RouteConfig, config: Config, adapters: Mapping[str, Provider], keys: _Keys) -> Row:
    provider = config.provider(route.provider)
    model = route.upstream_model or route.model
    about = (route.model, route.provider, model)
    if keys.lacks(provider):
        return Row((*about, "no key", _NOTHING, _NOTHING), is_good=True)
    began = time.perf_counter()
    try:
        async with asyncio.timeout(_SAMPLE_SECONDS):
            said, first = await _heard(adapters[route.provider], _tiny(model), began)
    except TimeoutError:
        return Row((*about, f"no end in {_SAMPLE_SECONDS:.0f} s", _NOTHING, _NOTHING), is_good=False)
    except OpenResponsesError as error:
        return Row((*about, f"{error.error_code}: {error.message}", _NOTHING, _NOTHING), is_good=False)
    return Row((*about, said, _milliseconds(first), _milliseconds(time.perf_counter() - began)), is_good=True)


def _tiny(model: str) -> SampleCall:
    asked = {"model": model, "input": "Say hello.", "max_output_tokens": _SAMPLE_TOKENS}
    request = CreateResponse.model_validate(asked)
    return SampleCall(model=model, items=request.input_items(), request=request, max_output_tokens=_SAMPLE_TOKENS)


async def _heard(adapter: Provider, call: SampleCall, began: float) -> tuple[str, float]:
    """What was said, in a few words, and the seconds to the first delta. Raises the ProviderError family."""
    text, first = "", 0.0
    async for delta in adapter.sample(call):
        first = first or time.perf_counter() - began
        if isinstance(delta, TextDelta):
            text += delta.text
        if isinstance(delta, Finish):
            used = f"{delta.usage.output_tokens} tokens, {delta.reason}"
            return (f"{json.dumps(text[:40], ensure_ascii=False)} ({used})" if text else f"no text ({used})"), first
    raise ProviderStreamBroken("the stream ended without saying why")


# --- what is shown


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f}"


def _print(head: tuple[str, ...], rows: Sequence[Row], keys: _Keys) -> None:
    lines = [head, *(tuple(keys.hidden_in(cell) for cell in row.cells) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
