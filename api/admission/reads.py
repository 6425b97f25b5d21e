"""How often an API key may ask for what begins nothing: GET, cancel, DELETE, conversations, lists, and requests for a
response that are refused or repeat one that has begun."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from open_responses.config import ApiKeyConfig
from open_responses.errors import RateLimited
from open_responses.io.redis.rate_limits import Window

# Counted with all that a response costs (api/admission/limits.py), if they begin one.
_BEGINS = frozenset({("POST", "/v1/responses"), ("POST", "/v1/responses/compact")})


class Reads:
    """Counted by this process alone: with a look at Redis, each would cost as much as what it guards.

    What was refused counts with all else that begins nothing, and by itself stops requests for responses: a key that
    reads as much as it may can still begin some.
    """

    def __init__(self) -> None:
        self._windows: dict[str, Window] = {}
        self._refused: dict[str, Window] = {}

    def count(self, key: ApiKeyConfig) -> None:
        """One more in the last minute. Raises RateLimited, and then has not counted it."""
        self._check(self._windows, key)
        self._add(self._windows, key)

    def check_refused(self, key: ApiKeyConfig) -> None:
        """Raises RateLimited for a key whose requests for responses were refused too often."""
        self._check(self._refused, key)

    def count_refused(self, key: ApiKeyConfig) -> None:
        """A request for a response that began none."""
        self._add(self._windows, key)
        self._add(self._refused, key)

    def _check(self, windows: dict[str, Window], key: ApiKeyConfig) -> None:
        if key.reads_per_minute is None:
            return
        wait = windows.setdefault(key.account, Window()).wait(key.reads_per_minute, 1)
        if wait != 0:
            raise RateLimited(
                f"The API key's limit of {key.reads_per_minute} requests a minute that begin nothing is reached; "
                "refused ones count.",
                retry_after=wait,
            )

    def _add(self, windows: dict[str, Window], key: ApiKeyConfig) -> None:
        if key.reads_per_minute is not None:
            windows.setdefault(key.account, Window()).add(1)


def begins_response(connection: HTTPConnection) -> bool:
    """Whether an HTTP request asks for a response."""
    return (connection.scope["method"], connection.url.path) in _BEGINS
