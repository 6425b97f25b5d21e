"""The settings of a request's `web_search` tool, and the functions that stand for the tool.

A setting acts, or the request is refused with a sentence that says why: a filter that is dropped in silence would let
the model read what the client has excluded.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

from open_responses.config_tables.built_in import BuiltInToolConfig
from open_responses.config_tables.web_search import WebSearchConfig
from open_responses.errors import InvalidRequest
from open_responses.json_types import JsonObject
from open_responses.schema.tools import FunctionTool

ContextSize: TypeAlias = Literal["low", "medium", "high"]
Recency: TypeAlias = Literal["day", "week", "month", "year"]

SEARCH, OPEN_PAGE, FIND = "web_search", "open_page", "find_in_page"
"""The names of the functions."""
RECENCIES: tuple[Recency, ...] = ("day", "week", "month", "year")
MAX_DOMAINS = 100
"""OpenAI's bound of `filters.allowed_domains`."""
MAX_QUERY = 400
"""The longest query in characters: Brave's bound, the smallest of all backends."""
MAX_URL = 2048
MAX_PATTERN = 200

_SIZES: tuple[ContextSize, ...] = ("low", "medium", "high")
_MEMBERS = ("type", "filters", "search_context_size", "user_location", "external_web_access")
# Of `web_search_preview`, whose other value is "image".
_TEXT_ONLY = ["text"]
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_TIMEZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}")
_MAX_PLACE = 100


@dataclass(frozen=True, slots=True)
class UserLocation:
    """About where the user is. `country` is a two-letter code in capitals, `timezone` a name of IANA."""

    city: str | None = None
    region: str | None = None
    country: str | None = None
    timezone: str | None = None

    def in_words(self) -> str:
        """The place as a phrase, such as "Berlin, DE (time zone Europe/Berlin)"."""
        place = ", ".join(part for part in (self.city, self.region, self.country) if part)
        zone = f"time zone {self.timezone}" if self.timezone else ""
        return f"{place} ({zone})" if place and zone else place or zone


@dataclass(frozen=True, slots=True)
class WebSearchOptions:
    """The settings of one request. Domains are lower-case names without a scheme; each includes its subdomains."""

    allowed_domains: tuple[str, ...] = ()
    blocked_domains: tuple[str, ...] = ()
    context_size: ContextSize = "medium"
    location: UserLocation = field(default_factory=UserLocation)

    def allows(self, url: str) -> bool:
        """Whether the filters allow the host of a URL."""
        try:
            host = (urlsplit(url).hostname or "").rstrip(".").lower()
        except ValueError:
            return False
        if any(_is_within(host, domain) for domain in self.blocked_domains):
            return False
        return not self.allowed_domains or any(_is_within(host, domain) for domain in self.allowed_domains)


def _is_within(host: str, domain: str) -> bool:
    return host == domain or host.endswith(f".{domain}")


def check_settings(tool: JsonObject, config: BuiltInToolConfig, param: str) -> None:
    """Raise InvalidRequest for settings that `read_options` refuses."""
    assert isinstance(config, WebSearchConfig)
    read_options(tool, config, param)


def read_options(tool: JsonObject, config: WebSearchConfig, param: str) -> WebSearchOptions:
    """The settings of a `web_search` tool.

    Args:
        tool: The tool as the request has it.
        config: The table of the configuration.
        param: The path of the tool in the request, such as `tools[0]`.

    Raises:
        InvalidRequest: A setting is invalid, or the configured backend cannot follow it.
    """
    for name, value in tool.items():
        if name == "search_content_types" and value == _TEXT_ONLY:
            continue
        if name not in _MEMBERS and value is not None:
            raise _unsupported(param, name, "is not a setting of the web_search that this server runs. Leave it out")
    if tool.get("external_web_access") is False:
        raise _unsupported(
            param, "external_web_access", "is false, but this server has no copy of the web: it searches live"
        )
    size = tool.get("search_context_size") or "medium"
    if size not in _SIZES:
        raise _invalid(param, "search_context_size", f"must be one of {', '.join(_SIZES)}")
    filters = _object(tool, "filters", param)
    for name, value in filters.items():
        if name not in ("allowed_domains", "blocked_domains") and value is not None:
            raise _unsupported(param, f"filters.{name}", "is not a filter of this server. Leave it out")
    return WebSearchOptions(
        allowed_domains=_domains(filters, "allowed_domains", config, param),
        blocked_domains=_domains(filters, "blocked_domains", config, param),
        context_size=size,
        location=_location(_object(tool, "user_location", param), param),
    )


def closed_functions(config: BuiltInToolConfig) -> Collection[str]:
    """The functions that the model is not offered under this table."""
    assert isinstance(config, WebSearchConfig)
    return () if config.open_pages else (OPEN_PAGE, FIND)


def functions_of(tool: JsonObject) -> list[FunctionTool]:
    """The functions that stand for the tool, as the model reads them. The tool's settings were checked before."""
    filters, place = tool.get("filters") or {}, _location(tool.get("user_location") or {}, "user_location").in_words()
    domains = ", ".join(filters.get("allowed_domains") or ())
    where = f" The user is near {place}: name the place in the query where it matters." if place else ""
    only = f" Only pages of these sites are found: {domains}." if domains else ""
    url = {"type": "string", "description": "The page's address, https://…"}
    return [
        _function(
            SEARCH,
            f"Search the web. Returns the best pages with their titles, addresses and excerpts.{where}{only}",
            {
                "query": {"type": "string", "description": f"What to search for, in at most {MAX_QUERY} characters."},
                "recency": {
                    "type": ["string", "null"],
                    "enum": [*RECENCIES, None],
                    "description": "Only pages of the last day, week, month or year. Leave it out for any age.",
                },
            },
            ["query"],
        ),
        _function(
            OPEN_PAGE,
            "Read a page of the web as text, such as one that web_search has found. A long page comes in parts.",
            {
                "url": url,
                "part": {"type": ["integer", "null"], "description": "Which part of the page; the first if left out."},
            },
            ["url"],
        ),
        _function(
            FIND,
            "Find a text in a page of the web. Returns each place with the text around it.",
            {"url": url, "pattern": {"type": "string", "description": "The text to find, in upper or lower case."}},
            ["url", "pattern"],
        ),
    ]


def action_of(function: str, arguments: JsonObject) -> JsonObject:
    """The `action` of the item of a call, in OpenAI's form."""
    if function == OPEN_PAGE:
        return {"type": "open_page", "url": _text(arguments, "url")}
    if function == FIND:
        return {"type": "find_in_page", "url": _text(arguments, "url"), "pattern": _text(arguments, "pattern")}
    return {"type": "search", "query": _text(arguments, "query")}


def _text(arguments: JsonObject, name: str) -> str:
    value = arguments.get(name)
    return value if isinstance(value, str) else ""


def _function(name: str, description: str, properties: JsonObject, required: list[str]) -> FunctionTool:
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return FunctionTool(type="function", name=name, description=description, parameters=schema)


def _domains(
    filters: JsonObject, name: Literal["allowed_domains", "blocked_domains"], config: WebSearchConfig, param: str
) -> tuple[str, ...]:
    given = filters.get(name)
    if not given:
        return ()
    path = f"filters.{name}"
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise _invalid(param, path, "must be an array of strings")
    if len(given) > MAX_DOMAINS:
        raise _invalid(param, path, f"must have at most {MAX_DOMAINS} domains, but has {len(given)}")
    if not config.takes_domains(name):
        raise _unsupported(
            param, path, "cannot be applied: the configured search backend is an MCP tool without such an argument"
        )
    return tuple(dict.fromkeys(_domain(one, param, f"{path}[{index}]") for index, one in enumerate(given)))


def _domain(given: str, param: str, path: str) -> str:
    """A domain as its host name: without the scheme, the slash at the end and upper case, in ASCII."""
    bare = re.sub(r"^https?://", "", given.strip().lower()).rstrip("/").rstrip(".")
    try:
        name = bare.encode("idna").decode() if bare else ""
    except UnicodeError:
        name = ""
    if not name or len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise _invalid(param, path, f"must be a domain such as 'example.com', but is {given[:80]!r}")
    return name


def _location(given: JsonObject, param: str) -> UserLocation:
    for name, value in given.items():
        if name not in ("type", "city", "region", "country", "timezone") and value is not None:
            raise _unsupported(param, f"user_location.{name}", "is not known. Leave it out")
        if value is not None and not isinstance(value, str):
            raise _invalid(param, f"user_location.{name}", "must be a string")
    if given.get("type") not in (None, "approximate"):
        raise _invalid(param, "user_location.type", "must be 'approximate'")
    country = (given.get("country") or "").upper() or None
    if country is not None and not re.fullmatch(r"[A-Z]{2}", country):
        raise _invalid(param, "user_location.country", "must be a two-letter country code such as 'US'")
    zone = given.get("timezone") or None
    if zone is not None and not (len(zone) <= _MAX_PLACE and _TIMEZONE.fullmatch(zone)):
        raise _invalid(param, "user_location.timezone", "must be a time zone such as 'Europe/Berlin'")
    places = {name: given.get(name) or None for name in ("city", "region")}
    for name, place in places.items():
        if place is not None and (len(place) > _MAX_PLACE or not place.isprintable()):
            raise _invalid(
                param, f"user_location.{name}", f"must be a name of at most {_MAX_PLACE} printable characters"
            )
    return UserLocation(country=country, timezone=zone, **places)


def _object(tool: JsonObject, name: str, param: str) -> JsonObject:
    value: Any = tool.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _invalid(param, name, "must be an object")
    return value


def _invalid(param: str, name: str, complaint: str) -> InvalidRequest:
    path = f"{param}.{name}"
    return InvalidRequest(f"'{path}' {complaint}.", param=path, code="invalid_value")


def _unsupported(param: str, name: str, complaint: str) -> InvalidRequest:
    path = f"{param}.{name}"
    return InvalidRequest(f"'{path}' {complaint}.", param=path, code="unsupported_parameter")
