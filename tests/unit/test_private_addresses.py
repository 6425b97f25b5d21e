"""Where a request may not send us."""

from __future__ import annotations

import pytest

from open_responses.private_addresses import is_forbidden_address, is_forbidden_host


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST.", "a.localhost", "printer.local", "db.internal", "127.0.0.1", "127.1", "2130706433",
        "0x7f.1", "0177.0.0.1", "0", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "224.0.0.1", "255.255.255.255", "[::1]", "::", "[fe80::1%eth0]", "fd00::1", "[::ffff:127.0.0.1]",
        "64:ff9b::7f00:1", "2002:7f00:1::", "ff02::1", "",
    ],
)  # fmt: skip
def test_our_own_network_is_forbidden_in_any_spelling(host: str) -> None:
    assert is_forbidden_host(host)


@pytest.mark.parametrize("host", ["example.com", "8.8.8.8", "[2606:4700::1111]", "localhost.example.com"])
def test_the_rest_of_the_world_is_not(host: str) -> None:
    assert not is_forbidden_host(host)


def test_what_is_no_address_is_forbidden() -> None:
    assert is_forbidden_address("example.com")
    assert not is_forbidden_address("8.8.4.4")
