"""Checks the address of a webhook before anything is sent. The connection is checked again, at each attempt."""

from __future__ import annotations

from urllib.parse import urlsplit

from open_responses.config import Config
from open_responses.errors import InvalidRequest
from open_responses.private_addresses import is_forbidden_host


def check_address(config: Config, url: str, param: str) -> None:
    """Raises InvalidRequest for a host that is private as it is written. Names are resolved by each attempt."""
    is_trusted = config.allow_private_addresses or config.webhooks.trusts(url)
    if not is_trusted and is_forbidden_host(urlsplit(url).hostname or ""):
        raise InvalidRequest(
            f"'{param}' must be a public address, but is a private or local one. If you operate this server, you can "
            "add it to 'trusted_urls' in its [webhooks] table.",
            param=param,
            code="forbidden_address",
        )
