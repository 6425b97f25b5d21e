"""Reads a vendor's list of models page by page. The list is bounded, and an incomplete list is an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeAlias

import httpx
import orjson

from activities.providers.shared.error_mapping import ReadError
from activities.providers.shared.json_objects import as_object
from activities.providers.shared.upstream import open_stream
from open_responses.config import ProviderConfig
from open_responses.contracts import ListedModel
from open_responses.errors import ProviderStreamBroken
from open_responses.json_types import JsonObject
from open_responses.models.catalog import MOST_LISTED

PAGE_SIZE = 1000
"""Models on a page: the most that Anthropic and Gemini give."""

_MOST_PAGES = 20
# OpenRouter's, the largest known, is 1 MB.
_MOST_BYTES = 8 * 1024 * 1024

Page: TypeAlias = tuple[list[ListedModel], str | None]
ReadPage: TypeAlias = Callable[[JsonObject], Page]
"""A body -> its models, and the path of the next page. Raises LookupError, TypeError for what is no such list."""


async def read_models(
    http: httpx.AsyncClient,
    config: ProviderConfig,
    path: str,
    *,
    headers: Mapping[str, str],
    read_error: ReadError,
    read_page: ReadPage,
) -> list[ListedModel]:
    """Return the models on all pages, up to the limit. Raises the ProviderError family, also for a list without an
    end."""
    found: list[ListedModel] = []
    for _ in range(_MOST_PAGES):
        body = await _body(http, config, path, headers, read_error)
        try:
            models, following = read_page(body)
        except (LookupError, TypeError) as error:
            raise ProviderStreamBroken(f"{config.name} sent what is no list of models") from error
        found += models
        if following is None or len(found) >= MOST_LISTED:
            return found
        path = following
    raise ProviderStreamBroken(f"{config.name}'s list of models has no end")


def entries(listed: Any, name: str) -> list[JsonObject]:
    """The objects in an array of models that have this member, a text; none for null, which some servers send for an
    empty array. Raises TypeError."""
    if not isinstance(listed, list | None):
        raise TypeError("not an array")
    return [one for one in listed or [] if isinstance(one, dict) and isinstance(one.get(name), str)]


def seconds_of(moment: Any) -> int | None:
    """Return Unix seconds, from a number or from a time in RFC 3339; None for any other value."""
    try:
        return int(datetime.fromisoformat(moment).timestamp() if isinstance(moment, str) else moment)
    except (TypeError, ValueError, OverflowError):
        return None


async def _body(
    http: httpx.AsyncClient, config: ProviderConfig, path: str, headers: Mapping[str, str], read_error: ReadError
) -> JsonObject:
    read = bytearray()
    async with open_stream(http, config, path, body=None, headers=headers, read_error=read_error) as response:
        async for chunk in response.aiter_bytes():
            read += chunk
            if len(read) > _MOST_BYTES:
                raise ProviderStreamBroken(f"{config.name}'s list of models is larger than {_MOST_BYTES} bytes")
        body = orjson.loads(read)
    # Together's is a bare array.
    return {"data": body} if isinstance(body, list) else as_object(body)
