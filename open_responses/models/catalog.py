"""The catalog of models: those that a route names, and those that a provider lists and a route matches.

What this prevents: a name in `/v1/models` for which a request gets a 404, or another model. A listed id is shown only
if the first route that matches it leads to the provider that lists it, under the same name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from typing import Any, TypeAlias

from open_responses.config import Config, ProviderConfig, RouteConfig
from open_responses.contracts import ListedModel

MOST_LISTED = 2000
"""The most models of one provider: several times the number of the largest marketplaces."""

# Names in the forms of providers: `org/model:tag`, `ft:gpt-4o:org::id`, `@cf/meta/llama`. No path on a server's disk
# (llama.cpp without an alias), and no shell pattern.
_NAME = re.compile(r"[A-Za-z0-9@~_][A-Za-z0-9._:/@+=~-]{0,199}", re.ASCII)
_WILD = frozenset("*?[")
_LONGEST_OWNER = 100
# The year 2100. A larger number is in milliseconds.
_LATEST = 4_102_444_800

Lists: TypeAlias = Mapping[str, Mapping[str, ListedModel]]
"""Provider's name -> id -> model."""


@dataclass(frozen=True, slots=True)
class OfferedModel:
    """A model in `/v1/models`. Where the provider lists no more, `created` is 0 and `owned_by` the provider's name."""

    id: str
    created: int
    owned_by: str


def offered_models(config: Config, lists: Lists) -> list[OfferedModel]:
    """The models, each name once: those of the routes in the order of the file, then those that providers list."""
    route_of = _first_route(config)
    offered: dict[str, OfferedModel] = {}
    for name in (route.model for route in config.routes if not is_pattern(route)):
        if (route := route_of(name)) is not None:
            offered[name] = offered_model(route, name, lists)
    for provider, listed in lists.items():
        for name in listed:
            route = route_of(name)
            if route is not None and route.provider == provider and route.upstream_model in (None, name):
                offered[name] = offered_model(route, name, lists)
    return list(offered.values())


def offered_model(route: RouteConfig, name: str, lists: Lists) -> OfferedModel:
    """A name that this route matches, also if the provider's list lacks it.

    No vendor lists every name that works (aliases, tags, tuned models).
    """
    listed = lists.get(route.provider, {}).get(route.upstream_model or name)
    if listed is None:
        return OfferedModel(name, 0, route.provider)
    return OfferedModel(name, listed.created or 0, listed.owned_by or route.provider)


def reached_providers(config: Config) -> list[ProviderConfig]:
    """The providers that a route leads to."""
    reached = {route.provider for route in config.routes}
    return [provider for provider in config.providers if provider.name in reached]


def is_pattern(route: RouteConfig) -> bool:
    """Whether the route's model is a pattern, and not a name."""
    return bool(_WILD & set(route.model))


def usable(models: Iterable[Any], *, secret: str | None = None) -> list[ListedModel]:
    """The models of a provider's list that are stored: at most `MOST_LISTED`, each id once, each member within bounds.

    Some servers repeat the key of the request in their list. A model that contains `secret` is left out.

    Raises:
        AttributeError: A model is not a ListedModel.
    """
    kept: dict[str, ListedModel] = {}
    for model in models:
        if len(kept) == MOST_LISTED:
            break
        if is_usable(model) and not (secret and secret in f"{model.id} {model.owned_by}"):
            kept[model.id] = ListedModel(model.id, _moment(model.created), _owner(model.owned_by))
    return list(kept.values())


def is_usable(model: ListedModel) -> bool:
    """Whether a client can send the model's id, in a body and in the path of a URL."""
    return isinstance(model.id, str) and _NAME.fullmatch(model.id) is not None and "/." not in model.id


def _first_route(config: Config) -> Callable[[str], RouteConfig | None]:
    """`Config.route`, for thousands of names.

    With one match for each pattern, the longest lists would block a process for a fifth of a second.
    """
    routes = config.routes
    any_route = _any_of(tuple(route.model for route in routes))

    def route_of(name: str) -> RouteConfig | None:
        found = any_route.match(name)
        return routes[found.lastindex - 1] if found is not None and found.lastindex is not None else None

    return route_of


@lru_cache(maxsize=4)
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """One expression with a group for each shell pattern. The group that matches is that of the first pattern."""
    return re.compile("|".join(f"({translate(pattern)})" for pattern in patterns))


def _moment(created: Any) -> int | None:
    return created if type(created) is int and 0 <= created < _LATEST else None


def _owner(owned_by: Any) -> str | None:
    is_good = isinstance(owned_by, str) and 0 < len(owned_by) <= _LONGEST_OWNER and owned_by.isprintable()
    return owned_by if is_good else None
