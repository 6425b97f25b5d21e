"""Which provider a request goes to, which come after it, and whose key is used."""

from __future__ import annotations

from collections.abc import Mapping

from open_responses.config import Config, ProviderConfig, RouteConfig
from open_responses.errors import InvalidRequest, ModelNotFound, ProviderKeyMissing
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.start import Target
from open_responses.models.capabilities import check_takes
from open_responses.models.omissions import has_tool, omitted_of
from open_responses.schema.requests import CreateResponse
from open_responses.schema.tools import ProviderTool
from open_responses.tool_use.built_in import built_in_of
from open_responses.tool_use.file_search import searches_here

KEY_HEADER = "x-provider-api-key"
_LONGEST_KEY = 4096


def targets_of(
    config: Config, asked: CreateResponse, provider_key: str | None, environ: Mapping[str, str]
) -> list[Target]:
    """The route's own provider, then those fallbacks that can take the request.

    Raises ModelNotFound, InvalidRequest for what the provider cannot take, and ProviderKeyMissing where neither the
    request nor the environment has a key.
    """
    route = route_of(config, asked.model)
    targets = [_target(config, route, asked.model, asked, provider_key, environ)]
    for model in route.fallbacks:
        try:
            targets.append(_target(config, route_of(config, model), model, asked, None, environ))
        except InvalidRequest:
            continue
    return targets


def take_provider_key(body: JsonObject, headers: Mapping[str, str]) -> str | None:
    """The request's own key, from its header or its body, which it is taken out of. Raises InvalidRequest."""
    given = body.pop("api_key", None)
    key = headers.get(KEY_HEADER) or given
    if key is None:
        return None
    if not isinstance(key, str) or not _may_be_a_key(key):
        raise InvalidRequest(
            "'api_key' must be the provider's key: a string of printable ASCII characters.",
            param="api_key",
            code="invalid_value",
        )
    return key.strip()


def _may_be_a_key(key: str) -> bool:
    """It becomes a header: anything else would fail there."""
    return bool(key.strip()) and len(key) <= _LONGEST_KEY and key.isascii() and key.isprintable()


def route_of(config: Config, model: str) -> RouteConfig:
    """Raises ModelNotFound: there is no silent default model."""
    route = config.route(model)
    if route is None:
        raise ModelNotFound(
            f"This server has no model {model!r}. GET /v1/models lists those that you may use.", param="model"
        )
    return route


def _target(
    config: Config,
    route: RouteConfig,
    model: str,
    asked: CreateResponse,
    provider_key: str | None,
    environ: Mapping[str, str],
) -> Target:
    provider = config.provider(route.provider)
    check_takes(provider.adapter, provider.name, asked, asked.input_items())
    run_here = run_here_for(config, provider, asked)
    omitted = omitted_of(provider, asked, strict_tools=config.strict_tools, run_here=run_here)
    if provider_key is None:
        _check_key(provider, environ)
    return Target(
        provider=provider.name,
        upstream_model=route.upstream_model or model,
        context_window=route.context_window,
        price=route.price,
        omitted=omitted or None,
        run_here=run_here,
    )


def run_here_for(config: Config, provider: ProviderConfig, asked: CreateResponse) -> list[int]:
    """The indexes of the request's built-in tools that this server runs for a provider: those that the configuration
    enables, and that the provider lacks or the configuration prefers here. A search in this server's own vector stores
    always runs here.

    Of the providers of other adapters nothing is known, so the tools run here.
    """
    enabled = config.built_in_tools
    if not enabled:
        return []
    found = []
    for index, tool in enumerate(asked.tools or []):
        row = built_in_of(tool.type) if isinstance(tool, ProviderTool) else None
        table = None if row is None else enabled.get(row.name)
        if table is None or not isinstance(tool, ProviderTool):
            continue
        if table.prefer or not has_tool(provider, tool) or searches_here(tool):
            found.append(index)
    return found


def _check_key(provider: ProviderConfig, environ: Mapping[str, str]) -> None:
    if provider.api_key_env and not environ.get(provider.api_key_env):
        raise ProviderKeyMissing(
            f"This server has no key for the provider {provider.name!r}. Send your own as 'api_key' or in the "
            f"X-Provider-Api-Key header. If you operate the server, set {provider.api_key_env}.",
            param="api_key",
        )
