"""Requests of the command line to a server, with the standard library."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import IO, Any
from urllib.parse import urlencode, urlsplit

_PATIENCE_SECONDS = 60.0


class CommandFailed(Exception):
    """An answer that is not 2xx, or no answer. Its text is for the operator."""

    def __init__(self, message: str, *, status: int = 0, body: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.body = body


@dataclass(frozen=True, slots=True)
class Server:
    """The server at `url`, and the key that is sent to it."""

    url: str
    key: str | None = field(default=None, repr=False)

    @classmethod
    def at(cls, url: str, key: str | None) -> Server:
        """Raises CommandFailed for a text that is no address of a server."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise CommandFailed(f"{url!r} is no address: write it as http://127.0.0.1:8080")
        return cls(url.rstrip("/"), key)

    def get(self, path: str, **query: object) -> Any:
        """The JSON at a path, with the parameters that have a value. Raises CommandFailed."""
        return self.send("GET", with_query(path, query))

    def send(self, method: str, path: str, body: object = None) -> Any:
        """The JSON of the answer. Raises CommandFailed."""
        with self.open(method, path, body) as answer:
            return json.load(answer)

    def pages(self, path: str, limit: int | None, **query: object) -> Iterator[Any]:
        """The entries of a list, of as many pages as it takes; at most `limit`. Raises CommandFailed."""
        left, after = limit, None
        while left is None or left > 0:
            size = min(100, left) if left is not None else 100
            page = self.get(path, **query, limit=size, after=after)
            yield from page["data"]
            left = None if left is None else left - len(page["data"])
            after = page["last_id"]
            if not page["has_more"] or after is None:
                return

    @contextmanager
    def open(self, method: str, path: str, body: object = None, **headers: str) -> Iterator[IO[bytes]]:
        """The answer as it arrives. Raises CommandFailed."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=self._headers(headers))
        try:
            with urllib.request.build_opener(_NoRedirects).open(request, timeout=_PATIENCE_SECONDS) as answer:
                yield answer
        except urllib.error.HTTPError as error:
            raise _failure_of(error) from None
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error or type(error).__name__
            raise CommandFailed(f"{self.url} does not answer: {reason}") from None

    def _headers(self, more: Mapping[str, str]) -> dict[str, str]:
        own = {"Content-Type": "application/json", "Accept": "application/json", **more}
        return own if self.key is None else {**own, "Authorization": f"Bearer {self.key}"}


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The key is for this server alone."""

    def redirect_request(self, *_: Any) -> None:
        return None


def with_query(path: str, query: Mapping[str, object]) -> str:
    """The path with the parameters that have a value."""
    given = {name: value for name, value in query.items() if value not in (None, "", False)}
    texts = {name: "true" if value is True else str(value) for name, value in given.items()}
    return f"{path}?{urlencode(texts)}" if texts else path


def _failure_of(error: urllib.error.HTTPError) -> CommandFailed:
    message, code, body = f"HTTP {error.code}", None, ""
    try:
        body = error.read().decode(errors="replace")
        told = json.loads(body)["error"]
        message, code = told["message"], told["code"]
    except (ValueError, KeyError, TypeError, OSError):
        # A proxy's own page: the status says enough.
        pass
    shown = f"{message} ({error.code} {code})" if code else message
    return CommandFailed(shown, status=error.code, body=body)
