"""How often an API key may ask for what begins nothing: GET, cancel, DELETE, conversations, lists."""

from __future__ import annotations

from open_responses.config import ApiKeyConfig
from open_responses.errors import RateLimited
from open_responses.io.limits import Window

# Counted, and refused, with all that a response costs (api/admission/limits.py).
_BEGINS = frozenset({("POST", "/v1/responses"), ("POST", "/v1/responses/compact")})


class Reads:
    """Counted by this process alone: with a look at Redis, each would cost as much as what it guards."""

    def __init__(self) -> None:
        self._windows: dict[str, Window] = {}

    def count(self, key: ApiKeyConfig, method: str, path: str) -> None:
        """One more in the last minute. Raises RateLimited, and then has not counted it."""
        if key.reads_per_minute is None or (method, path) in _BEGINS:
            return
        window = self._windows.setdefault(key.account, Window())
        wait = window.wait(key.reads_per_minute, 1)
        if wait != 0:
            raise RateLimited(
                f"The API key's limit of {key.reads_per_minute} requests a minute that begin nothing is reached.",
                retry_after=wait,
            )
        window.add(1)
