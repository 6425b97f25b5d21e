"""Fetches a page whose address comes from a model: through the guard, and bounded in every direction.

What this prevents: a request to a private network by an address, a name or a redirect; a page that never ends, arrives
byte by byte, or unpacks to gigabytes; a file that is no text.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import zlib
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Literal, TypeAlias
from urllib.parse import urljoin, urlsplit

import httpx2

from activities.tools.guarded_http import ForbiddenAddress, GuardedTransport, TooLarge
from open_responses.contracts import ToolError
from open_responses.private_addresses import is_forbidden_host
from open_responses.tool_use.web_search import MAX_URL, WebSearchOptions

MAX_PAGE_BYTES = 5 * 1024 * 1024
"""As they arrive, and unpacked."""
MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ACCEPT = "text/html,application/xhtml+xml,application/pdf,text/plain;q=0.9,application/json;q=0.8,*/*;q=0.5"
_HTML = frozenset({"text/html", "application/xhtml+xml"})
_PDF = "application/pdf"
_TEXT = re.compile(r"text/.*|application/(json|ld\+json|xml|javascript|x-yaml|yaml|toml|.*\+(json|xml))")
# No port: `example.com:8080` has no scheme.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?!\d)")
_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
_CHARSET = re.compile(r"charset=[\"']?([\w.:-]{1,40})", re.IGNORECASE)


PageKind: TypeAlias = Literal["html", "text", "pdf"]


class PageError(ToolError):
    """A page that cannot be read, in one sentence for the model."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A page as it arrived. `url` is the address after all redirects, `charset` the one that the server names."""

    url: str
    kind: PageKind
    body: bytes
    charset: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one request, which may be a redirect or a refusal."""

    status: int
    location: str | None
    content_type: str
    body: bytes


def checked_url(given: str, options: WebSearchOptions, private_hosts: Collection[str]) -> str:
    """The address to request, without a fragment. Raises PageError for one that must not be requested."""
    text = given.strip()
    if not _SCHEME.match(text):
        text = f"https://{text.lstrip('/')}"
    try:
        # The client's own reading of the address, from which all of the checks are made.
        sendable = str(httpx2.URL(text).copy_with(fragment=None))
        parts = urlsplit(sendable)
        host, port = parts.hostname or "", parts.port
    except (ValueError, TypeError, httpx2.InvalidURL):
        raise PageError(f"{_shown(given)} is not the address of a page.") from None
    if parts.scheme not in ("http", "https"):
        raise PageError(f"{_shown(given)} cannot be opened: only addresses with http:// and https:// can.")
    is_same = host == httpx2.URL(sendable).raw_host.decode().strip("[]")
    if not is_same or not _HOST.fullmatch(host) or port == 0 or len(sendable) > MAX_URL:
        raise PageError(f"{_shown(given)} is not the address of a page.")
    if "@" in parts.netloc:
        raise PageError(f"{_shown(given)} has a user name, which is sent to no site. Leave it out.")
    if not is_private(sendable, private_hosts) and is_forbidden_host(host):
        raise _forbidden(sendable)
    if not options.allows(sendable):
        raise PageError(f"{_shown(sendable)} is on a site that the request does not allow.")
    return sendable


def is_private(url: str, private_hosts: Collection[str]) -> bool:
    """Whether the operator lets pages of this host be read wherever it is."""
    return urlsplit(url).netloc.lower() in private_hosts


class PageFetcher:
    """Fetches pages. Each request has a connection of its own, so that no cookie goes from one to another."""

    def __init__(self, *, user_agent: str, wait_seconds: float, private_hosts: Collection[str]) -> None:
        self._headers = {"user-agent": user_agent, "accept": _ACCEPT, "accept-encoding": "gzip"}
        self._wait = wait_seconds
        self._private_hosts = private_hosts

    async def get(
        self,
        given: str,
        options: WebSearchOptions,
        *,
        max_bytes: int = MAX_PAGE_BYTES,
        before: Callable[[str], Awaitable[None]] | None = None,
    ) -> tuple[str, Answer]:
        """The last address behind all redirects, and its answer. Raises PageError.

        `before` is called with each address before it is requested, and may raise.
        """
        url = checked_url(given, options, self._private_hosts)
        try:
            async with asyncio.timeout(self._wait):
                for _ in range(MAX_REDIRECTS + 1):
                    if before is not None:
                        await before(url)
                    answer = await self._request(url, max_bytes)
                    if answer.location is None:
                        return url, answer
                    url = checked_url(_joined(url, answer.location), options, self._private_hosts)
        except TimeoutError:
            raise PageError(f"{_shown(given)} did not arrive within {self._wait:g} seconds.") from None
        raise PageError(f"{_shown(given)} redirects more than {MAX_REDIRECTS} times.")

    async def _request(self, url: str, max_bytes: int) -> Answer:
        try:
            return await self._exchange(url, max_bytes)
        except httpx2.TimeoutException:
            raise PageError(f"{_shown(url)} did not arrive within {self._wait:g} seconds.") from None
        except ForbiddenAddress:
            raise _forbidden(url) from None
        except TooLarge:
            raise PageError(f"{_shown(url)} is larger than {max_bytes:,} bytes.") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            why = "its certificate cannot be verified" if _is_tls(error) else "the site cannot be reached"
            raise PageError(f"{_shown(url)} cannot be read: {why}.") from None

    async def _exchange(self, url: str, max_bytes: int) -> Answer:
        transport = GuardedTransport(
            allow_private=is_private(url, self._private_hosts),
            max_bytes=max_bytes,
            on_answer=lambda *_: None,
            on_fault=lambda _: None,
            takes_encoded=True,
        )
        async with (
            httpx2.AsyncClient(transport=transport, timeout=self._wait, trust_env=False) as client,
            client.stream("GET", url, headers=self._headers) as response,
        ):
            content_type = response.headers.get("content-type", "")
            location = response.headers.get("location") if response.status_code in _REDIRECTS else None
            if location is not None or response.status_code >= 400 or not _may_be_read(content_type):
                return Answer(response.status_code, location, content_type, b"")
            body = await _unpacked(response, max_bytes)
            return Answer(response.status_code, None, content_type, body)


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise PageError(f"{_shown(url)} redirects to {_shown(location)}, which is not the address of a page.") from None


def page_of(url: str, answer: Answer) -> Fetched:
    """The page of a last answer. Raises PageError for a refusal, and for what is no text."""
    if answer.status >= 400:
        raise PageError(f"{_shown(url)} answered with status {answer.status}.")
    media = answer.content_type.split(";")[0].strip().lower()
    found = _CHARSET.search(answer.content_type)
    charset = found[1] if found else None
    if not _may_be_read(answer.content_type):
        raise PageError(f"{_shown(url)} is of type {media[:100]}, which is not text.")
    head = answer.body[:1024]
    if b"%PDF-" in head:
        return Fetched(url, "pdf", answer.body, None)
    if b"\0" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff")) and "utf-16" not in (charset or "").lower():
        raise PageError(f"{_shown(url)} is a binary file and no text.")
    is_html = media in _HTML or (not media and head.lstrip()[:1] == b"<")
    return Fetched(url, "html" if is_html else "text", answer.body, charset)


def _may_be_read(content_type: str) -> bool:
    media = content_type.split(";")[0].strip().lower()
    return not media or media in _HTML or media == _PDF or _TEXT.fullmatch(media) is not None


async def _unpacked(response: httpx2.Response, limit: int) -> bytes:
    """The body, unpacked piece by piece, so that a few bytes that stand for gigabytes stop at the limit."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise PageError(f"{_shown(str(response.url))} is compressed in a way that was not asked for.")
    unpack = None if encoding in ("", "identity") else zlib.decompressobj(zlib.MAX_WBITS | 32)
    parts: list[bytes] = []
    left = limit
    async for raw in response.aiter_raw():
        try:
            piece = raw if unpack is None else unpack.decompress(raw, left + 1)
        except zlib.error:
            raise PageError(f"{_shown(str(response.url))} is not compressed as it says.") from None
        left -= len(piece)
        if left < 0:
            raise TooLarge
        parts.append(piece)
    return b"".join(parts)


def _is_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _forbidden(url: str) -> PageError:
    return PageError(f"{_shown(url)} is on a private network, which this server does not let pages be read from.")


def _shown(url: str) -> str:
    """An address as messages have it: short, and printable."""
    text = "".join(character if character.isprintable() else " " for character in url)
    return repr(text if len(text) <= 200 else text[:200] + "…")
