"""Requests to the HTTP APIs of search services: bounded in time and size, with each failure as one `SearchError`."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias

import httpx2

from activities.tools.guarded_http import Encoded, GuardedTransport, TooLarge
from activities.tools.web_search.results import SearchError
from open_responses.json_types import JsonObject

MAX_BYTES = 4 * 1024 * 1024
LONGEST_WAIT_SECONDS = 60.0
"""A backend that asks for a longer pause has failed: the model must not wait for it."""
_SHOWN = 200
_OUT_OF_CREDIT = frozenset({402, 432, 433})

ReadsRefusal: TypeAlias = Callable[[int, JsonObject, Mapping[str, str]], SearchError | None]


def _plain(status: int, body: JsonObject, headers: Mapping[str, str]) -> SearchError | None:
    return None


class JsonApi:
    """The API of one service. `name` stands in messages, and `key_variable` names where an operator sets the key."""

    def __init__(
        self,
        name: str,
        address: str,
        *,
        headers: Mapping[str, str],
        timeout_seconds: float,
        key_variable: str | None = None,
        secret: str | None = None,
        reads_refusal: ReadsRefusal = _plain,
    ) -> None:
        self._name = name
        self._address = address
        self._headers = {"accept": "application/json", **headers}
        self._timeout = timeout_seconds
        self._key_variable = key_variable
        self._secret = secret
        self._reads_refusal = reads_refusal

    async def get(self, path: str, params: Mapping[str, str], headers: Mapping[str, str] | None = None) -> JsonObject:
        """The JSON object at a path. Raises SearchError."""
        return await self._send("GET", path, params=dict(params), headers=headers)

    async def post(self, path: str, body: JsonObject) -> JsonObject:
        """The JSON object that answers a JSON object. Raises SearchError."""
        return await self._send("POST", path, json=body)

    async def _send(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **what: Any
    ) -> JsonObject:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._exchange(method, path, {**self._headers, **(headers or {})}, what)
        except (TimeoutError, httpx2.TimeoutException):
            raise self._error(f"did not answer within {self._timeout:g} seconds", retryable=True) from None
        except TooLarge:
            raise self._error(f"sent more than {MAX_BYTES} bytes") from None
        except Encoded:
            raise self._error("sent a compressed answer, which was not asked for") from None
        except httpx2.InvalidURL:
            raise self._error("has an address that is no URL") from None
        except (httpx2.TransportError, OSError):
            raise self._error("cannot be reached", retryable=True) from None

    async def _exchange(self, method: str, path: str, headers: Mapping[str, str], what: dict[str, Any]) -> JsonObject:
        # The operator chose the address, which may be on a private network.
        transport = GuardedTransport(
            allow_private=True, max_bytes=MAX_BYTES, on_answer=lambda *_: None, on_fault=lambda _: None
        )
        async with httpx2.AsyncClient(transport=transport, timeout=self._timeout, trust_env=False) as client:
            response = await client.request(method, f"{self._address}{path}", headers=headers, **what)
        if response.status_code >= 300:
            raise self._refusal(response)
        try:
            answer = json.loads(response.content)
        except (ValueError, RecursionError):
            raise self._error("sent an answer that is not JSON", retryable=True) from None
        if not isinstance(answer, dict):
            raise self._error("sent JSON that is not an object", retryable=True)
        return answer

    def _refusal(self, response: httpx2.Response) -> SearchError:
        status = response.status_code
        try:
            found = json.loads(response.content)
        except (ValueError, RecursionError):
            found = None
        body = found if isinstance(found, dict) else {}
        known = self._reads_refusal(status, body, response.headers)
        if known is not None:
            return known
        if status in (401, 403):
            hint = f": check the key in {self._key_variable}" if self._key_variable else ""
            return self._error(f"refused the search ({status}){hint}")
        if status in _OUT_OF_CREDIT:
            return self._error(f"has no credit left for the configured key ({status})")
        if status == 429:
            return self._slowed(seconds_of(response.headers.get("retry-after")))
        if status >= 500 or status == 408:
            return self._error(f"failed with status {status}", retryable=True, retry_after=None)
        said = self._shown(_message_in(body))
        return self._error(f"answered with status {status}{f': {said}' if said else ''}")

    def _slowed(self, wait: float | None) -> SearchError:
        if wait is not None and wait > LONGEST_WAIT_SECONDS:
            return self._error(f"has reached its rate limit, for {math.ceil(wait)} seconds more")
        return self._error("has reached its rate limit", retryable=True, retry_after=wait)

    def _error(self, what: str, *, retryable: bool = False, retry_after: float | None = None) -> SearchError:
        return SearchError(f"The search backend {self._name} {what}.", retryable=retryable, retry_after=retry_after)

    def _shown(self, text: str) -> str:
        """A vendor's message as one short line without the key."""
        line = " ".join(text.split())
        return (line.replace(self._secret, "…") if self._secret else line)[:_SHOWN].rstrip(".")


def seconds_of(header: str | None) -> float | None:
    """The seconds of a `Retry-After` header, which may also be a date; None if there is none, or it is neither."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _message_in(body: JsonObject) -> str:
    """The message of an error: `error`, `detail`, or `message`, also one inside another."""
    for name in ("error", "detail", "message"):
        value = body.get(name)
        if isinstance(value, str):
            return value
        if isinstance(value, dict) and (inner := _message_in(value)):
            return inner
    return ""


def entries(answer: Any, *path: str) -> list[JsonObject]:
    """The objects in the list at a path of members; empty where there is no such list."""
    for name in path:
        answer = answer.get(name) if isinstance(answer, dict) else None
    return [entry for entry in answer if isinstance(entry, dict)] if isinstance(answer, list) else []


def text_at(entry: JsonObject, *names: str) -> str:
    """The first of the members that is a text with something in it; empty if none is."""
    found = (entry.get(name) for name in names)
    return next((value for value in found if isinstance(value, str) and value.strip()), "")
