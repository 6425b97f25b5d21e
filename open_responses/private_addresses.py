"""Recognises addresses that a request may not name: this machine, private networks, the cloud's metadata service."""

from __future__ import annotations

import ipaddress
import socket
from typing import TypeAlias

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_LOCAL_NAMES = ("localhost", "local", "internal", "localdomain", "lan", "home.arpa")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Public by number, but a cloud's own: Azure's host agent, Oracle's metadata; and what Python's older tables leave out.
_NEVER = [
    ipaddress.ip_network(network)
    for network in ("168.63.129.16/32", "192.0.0.0/24", "fec0::/10", "64:ff9b:1::/48", "100::/64", "3fff::/20")
]


def is_forbidden_address(address: str) -> bool:
    """For an IP address as text. What is not one is forbidden."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return True
    return any(
        not form.is_global or form.is_multicast or form.is_reserved or any(form in network for network in _NEVER)
        for form in _forms(parsed)
    )


def is_forbidden_host(host: str) -> bool:
    """For a URL's host, without looking it up: literal addresses in any spelling, and names of the local network."""
    name = host.strip("[]").rstrip(".").lower()
    if not name:
        return True
    if any(name == local or name.endswith(f".{local}") for local in _LOCAL_NAMES):
        return True
    literal = _literal(name)
    return literal is not None and is_forbidden_address(literal)


def _literal(name: str) -> str | None:
    """The address that a host spells, in the C library's liberal reading: 2130706433, 0x7f.1, 0177.0.0.1."""
    if ":" in name:
        return name
    try:
        return socket.inet_ntoa(socket.inet_aton(name))
    except OSError:
        return None


def _forms(address: _Address) -> list[_Address]:
    """The address, and the IPv4 addresses that it carries inside."""
    forms: list[_Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        forms += [form for form in inner if form is not None]
    return forms
