"""A server without keys answers this machine alone, and no page of another site."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import pytest

from api.auth import Caller, _check_is_near
from open_responses.errors import PermissionDenied
from open_responses.io.settings import Settings
from tests.support.responses_http import is_error
from tests.support.stack import Stack, another_api

# None of them names this machine, and a lenient parser finds that each does.
ODD_HOSTS = [
    "",
    "[::1].evil",
    "[::1].evil:8080",
    "[::1]evil:80",
    "[::1",
    "::1",
    "[::1]:",
    "[::1]:evil",
    "[::1%25evil]",
    "[v1.127.0.0.1]",
    "[localhost]",
    "[127.0.0.1]",
    "evil@127.0.0.1",
    "evil:1@127.0.0.1:8080",
    "127.0.0.1@evil",
    "127.0.0.1:80:80",
    "127.0.0.1:999999",
    "127.0.0.1:80evil",
    "127.0.0.1/evil",
    "127.0.0.1?evil",
    "127.0.0.1#.evil",
    "127.0.0.1\\.evil",
    "127.0.0.1,evil",
    "127.0.0.1 evil",
    "127.0.0.1.evil",
    "localhost.evil",
    "localhost\t.evil",
    "evillocalhost",
    "0x7f.1",
    "2130706433",
    "127.1",
    "%31%32%37.0.0.1",
    "0.0.0.0",
    "[::]",
]


def connection(peer: str, host: str = "127.0.0.1:8080", origin: str | None = None) -> Any:
    from starlette.requests import HTTPConnection

    headers = [(b"host", host.encode())] + ([(b"origin", origin.encode())] if origin else [])
    return HTTPConnection({"type": "http", "client": (peer, 1), "headers": headers})


@pytest.mark.parametrize(
    ("peer", "host", "origin"),
    [
        ("10.0.0.7", "10.0.0.1:8080", None),
        ("fe80::1", "127.0.0.1", None),
        ("203.0.113.9", "localhost", None),
        ("127.0.0.1", "evil.example:8080", None),
        ("127.0.0.1", "evil.example:8080", "http://evil.example:8080"),
        *(("127.0.0.1", host, None) for host in ODD_HOSTS),
    ],
)
def test_without_keys_nobody_but_this_machine_is_answered(peer: str, host: str, origin: str | None) -> None:
    with pytest.raises(PermissionDenied, match="OPEN_RESPONSES_ALLOW_OPEN=1"):
        _check_is_near(Settings(), connection(peer, host, origin))
    _check_is_near(Settings(allow_open=True), connection(peer, host, origin))


def test_of_two_hosts_neither_is_believed() -> None:
    from starlette.requests import HTTPConnection

    headers = [(b"host", b"127.0.0.1"), (b"host", b"evil.example")]
    with pytest.raises(PermissionDenied):
        _check_is_near(Settings(), HTTPConnection({"type": "http", "client": ("127.0.0.1", 1), "headers": headers}))


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://localhost.evil.example",
        "file://localhost",
        "localhost",
        "http://localhost/",
        *(f"http://{host}" for host in ODD_HOSTS if host),
    ],
)
def test_without_keys_no_page_of_elsewhere_is_answered(origin: str) -> None:
    """Nor where a container's port is published on loopback: the page and its reader are behind it."""
    for settings in (Settings(), Settings(allow_open=True)):
        with pytest.raises(PermissionDenied, match="OPEN_RESPONSES_CORS_ORIGINS"):
            _check_is_near(settings, connection("127.0.0.1", "localhost", origin))


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_without_keys_this_machine_is_answered(peer: str) -> None:
    for host in ("localhost:8080", "127.0.0.1:8080", "[::1]:8080"):
        _check_is_near(Settings(), connection(peer, host))
    _check_is_near(Settings(), connection(peer, origin="http://localhost:3000"))
    _check_is_near(Settings(cors_origins="https://app.example"), connection(peer, origin="https://app.example"))


def test_a_caller_without_a_key_has_no_headers_to_share() -> None:
    assert Caller("default").headers is not Caller("default").headers


def address_of_this_machine() -> str | None:
    """Where a packet to elsewhere would come from; none is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))
        address: str = probe.getsockname()[0]
        return None if address.startswith("127.") else address
    return None


@pytest.mark.campaign
async def test_a_server_without_keys_refuses_the_network_and_says_what_to_do(stack: Stack) -> None:
    """Over a real socket, where this machine has an address that is not loopback."""
    address = address_of_this_machine()
    if address is None:
        pytest.skip("this machine has no address but loopback")
    async with another_api(stack, host="0.0.0.0") as client:
        url = f"http://{address}:{client.base_url.port}"
        answer = await client.post(f"{url}/v1/responses", json={"model": "fake", "input": "hello"})
        is_error(answer, 403, "no_api_keys")
        assert "[[api_keys]]" in answer.json()["error"]["message"]
        assert (await client.get(f"{url}/healthz")).status_code == 200
        assert (await client.post("/v1/responses", json={"model": "fake", "input": "hello"})).status_code == 200
    log = (stack.data / "logs" / f"api-{client.base_url.port}.log").read_text()
    assert "open_on_loopback" in log
