"""Encryption keys, as the environment names them."""

from __future__ import annotations

import base64

OLD, NEW = bytes(range(32)), bytes(range(1, 33))


def variable(*keys: bytes) -> str:
    return ",".join(base64.b64encode(key).decode() for key in keys)
