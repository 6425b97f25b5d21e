"""Limits how often an API key may send requests that start no response.

These are GET, DELETE, cancel, conversations and lists, and requests for a response that are refused or repeat one.
"""

from __future__ import annotations

from starlette.requests import HTTPConnection

from open_responses.config_tables.api_keys import ApiKeyConfig
from open_responses.errors import RateLimited
from open_responses.io.redis.sliding_window import Window

# If these start a response, `api/admission/limits.py` counts them instead.
_BEGINS = frozenset({("POST", "/v1/responses"), ("POST", "/v1/responses/compact")})


class Reads:
    """Counts the reads of this process. A count in Redis would cost as much as the read that it limits.

    Refused requests for responses count as reads, and also in a window of their own. Only that second window refuses
    requests for responses: a key that has used up its reads can still start responses.
    """

    def __init__(self) -> None:
        self._windows: dict[str, Window] = {}
        self._refused: dict[str, Window] = {}

    def count(self, key: ApiKeyConfig) -> None:
        """Count one read. Raises RateLimited instead of counting it if the last minute has too many."""
        self._check(self._windows, key)
        self._add(self._windows, key)

    def check_refused(self, key: ApiKeyConfig) -> None:
        """Raises RateLimited for a key whose requests for responses were refused too often."""
        self._check(self._refused, key)

    def count_refused(self, key: ApiKeyConfig) -> None:
        """Count a request for a response that started none."""
        self._add(self._windows, key)
        self._add(self._refused, key)

    def _check(self, windows: dict[str, Window], key: ApiKeyConfig) -> None:
        if key.reads_per_minute is None:
            return
        wait = windows.setdefault(key.account, Window()).wait(key.reads_per_minute, 1)
        if wait != 0:
            raise RateLimited(
                f"Your API key's limit of {key.reads_per_minute} requests a minute that start no response is reached. "
                "Refused requests count as well. Try again after the time in Retry-After.",
                retry_after=wait,
            )

    def _add(self, windows: dict[str, Window], key: ApiKeyConfig) -> None:
        if key.reads_per_minute is not None:
            windows.setdefault(key.account, Window()).add(1)


def begins_response(connection: HTTPConnection) -> bool:
    """Whether an HTTP request asks for a new response."""
    return (connection.scope["method"], connection.url.path) in _BEGINS
