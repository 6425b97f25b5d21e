"""Authentication: the caller of a request, found by its bearer token among the configured hashes.

Without configured keys there is one tenant, and only requests from this machine are accepted. A server that was started
to try it out must not answer the network, nor a web page that is open in a browser of the same machine.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address

from starlette.requests import HTTPConnection

from api.admission.reads import begins_response
from api.admission.received_bytes import hold
from api.app_state import AppState, state_of
from api.http_headers import http_headers
from open_responses.config_tables.api_keys import ApiKeyConfig
from open_responses.errors import PermissionDenied, Unauthorized, Unavailable
from open_responses.io.settings import Settings

OPEN_TENANT = "default"
_AUTHORITY = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?")
_LARGEST_PORT = 65535
_CALLER = "open_responses.caller"
_COUNTED = "open_responses.counted_as_read"


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller's tenant and API key; the key is None on a server without keys. `headers` are added to the answer."""

    tenant: str
    key: ApiKeyConfig | None = None
    headers: dict[str, str] = field(default_factory=dict, compare=False)

    @property
    def is_admin(self) -> bool:
        """Whether the caller may see and change what belongs to all tenants. A server without keys has one tenant, and
        each of its callers may."""
        return self.key is None or self.key.is_admin

    @property
    def reads_of(self) -> str | None:
        """The tenant whose stored responses the caller may read, cancel, approve and delete; None for every tenant."""
        return None if self.key is not None and self.key.is_admin else self.tenant


def caller_of(connection: HTTPConnection) -> Caller:
    """The caller of a request or a WebSocket. Raises Unauthorized, Unavailable while keys cannot be read, RateLimited
    for a key that reads too often, and PermissionDenied if there are no keys and the caller is not on this machine."""
    state = state_of(connection)
    if not state.settings.config.api_keys:
        _check_is_near(state.settings, connection)
        hold(connection, state.received.of(None))
        return Caller(OPEN_TENANT)
    found = valid_key(state, connection)
    caller = Caller(found.tenant, found, http_headers(connection))
    reads = state.reads
    if connection.scope["type"] == "http" and not begins_response(connection):
        reads.count(found)
    else:
        # `Admission` counts it if it starts a response; `count_as_read` does if it does not.
        reads.check_refused(found)
    connection.scope[_CALLER] = caller
    hold(connection, state.received.of(found))
    state.runtime_keys.note_use(found.id)
    return caller


def tenant_of(connection: HTTPConnection) -> str | None:
    """The tenant of a request whose API key was found; None for every other."""
    caller: Caller | None = connection.scope.get(_CALLER)
    return None if caller is None else caller.tenant


def valid_key(state: AppState, connection: HTTPConnection) -> ApiKeyConfig:
    """The key in the request's headers, as it is in `state`. Raises Unauthorized, and Unavailable for a key that may be
    one of those that were made at run time, while these have not been read."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    found = state.keys.find(hashlib.sha256(token.strip().encode()).hexdigest())
    if scheme.lower() != "bearer" or (found is None and (state.keys.is_complete or not token.strip())):
        raise Unauthorized("Your request has no valid API key. Send `Authorization: Bearer <key>`.")
    if found is None:
        raise Unavailable(
            "This server does not know your API key, and it cannot read all keys at this moment. Send your request "
            "again after the time in Retry-After."
        )
    if found.end is not None:
        raise Unauthorized(f"Your API key is {found.end}. Ask the operator of this server for another one.")
    return found.config


def count_as_read(connection: HTTPConnection) -> None:
    """Count a request that should have started a response and did not: it was refused, or it repeats an earlier one.

    A second call for the same request changes nothing.
    """
    caller: Caller | None = connection.scope.get(_CALLER)
    if caller is not None and caller.key is not None and not connection.scope.get(_COUNTED):
        connection.scope[_COUNTED] = True
        state_of(connection).reads.count_refused(caller.key)


async def show_limits(connection: HTTPConnection) -> None:
    """Add the key's limits and their use to the answer's headers, if the request was not counted against them."""
    caller: Caller | None = connection.scope.get(_CALLER)
    if caller is not None:
        await state_of(connection).admission.show(caller.key, caller.headers)


def _check_is_near(settings: Settings, connection: HTTPConnection) -> None:
    if settings.allow_open:
        _check_page(settings, connection)
    else:
        check_is_near(settings, connection)


def check_is_near(settings: Settings, connection: HTTPConnection) -> None:
    """Raises PermissionDenied if the peer, the `Host` header or the page in `Origin` is not on this machine."""
    _check_page(settings, connection)
    peer = connection.client.host if connection.client is not None else ""
    named = connection.headers.getlist("host")
    host = host_in(named[0]) if len(named) == 1 else None
    if not is_loopback(peer):
        reason = f"and your request comes from {peer or 'an unknown address'}"
    elif host is None or not is_loopback(host):
        # DNS rebinding: a web page's owner pointed a name of theirs to this machine.
        reason = f"and your request names the host {', '.join(named)[:80]!r}"
    else:
        return
    raise PermissionDenied(
        f"This server has no API keys, so it answers its own machine only, {reason}. If you operate it, configure "
        "[[api_keys]] (`python -m open_responses keys add TENANT` makes one), or set OPEN_RESPONSES_ALLOW_OPEN=1 if a "
        "proxy in front of it checks who may send requests.",
        code="no_api_keys",
    )


def _check_page(settings: Settings, connection: HTTPConnection) -> None:
    """A browser lets every page send requests to this machine, and names the page in `Origin`."""
    origin = connection.headers.get("origin")
    if origin is None:
        return
    scheme, _, authority = origin.partition("://")
    host = host_in(authority) if scheme in ("http", "https") else None
    is_own = host is not None and (is_loopback(host) or authority == connection.headers.get("host"))
    if not is_own and not {origin, "*"} & set(settings.origins):
        raise PermissionDenied(
            f"This server has no API keys, and your request comes from a page of {origin[:80]!r}. If you operate the "
            "server and trust the page, add this origin to OPEN_RESPONSES_CORS_ORIGINS.",
            code="no_api_keys",
        )


def host_in(authority: str) -> str | None:
    """The host of `host[:port]` as RFC 9110 defines it: a name or an address, IPv6 in brackets.

    None for anything else: a user in front, characters after the bracket, a port that is no number. A lenient parser
    could find a host of this machine in such a value where the browser that sent it found another.
    """
    found = _AUTHORITY.fullmatch(authority)
    if found is None or int(found["port"] or 0) > _LARGEST_PORT:
        return None
    if found["ipv6"] is None:
        return found["name"].lower()
    try:
        return str(IPv6Address(found["ipv6"]))
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
