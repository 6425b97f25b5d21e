"""Packs the contents of containers: compressed, encrypted with their response's key if it has one, and sealed.

A seal is bound to tenant and container, because a state is code that the interpreter trusts.
"""

from __future__ import annotations

import zstandard

from open_responses.io.sealing import SealBroken, Sealer
from open_responses.io.temporal.payload_keys import PayloadKeys, PayloadUnreadable, ResponseKeys

_LARGEST_BYTES = 1 << 30


class Unreadable(Exception):
    """A content that cannot be opened: another tenant's, changed, or of a key that is gone."""


class ContainerSeals:
    """Packs and unpacks. All methods block for as long as it takes to encrypt the content."""

    def __init__(self, sealer: Sealer, response_keys: ResponseKeys) -> None:
        self._sealer = sealer
        self._keys = PayloadKeys(responses=response_keys)

    def pack(self, plain: bytes, *, owner: str, bound_to: str) -> bytes:
        """The content for disk. `owner` is the response whose key encrypts it."""
        packed = zstandard.ZstdCompressor(level=3).compress(plain)
        name, data = self._keys.encrypt(packed, owner) or ("", packed)
        return self._sealer.seal(name.encode() + b"\n" + data, bound_to=bound_to).encode()

    def unpack(self, content: bytes, *, bound_to: str) -> bytes:
        """The plain content. Raises Unreadable."""
        try:
            name, _, data = self._sealer.unseal(content.decode("ascii"), bound_to=bound_to).partition(b"\n")
            packed = self._keys.decrypt(name.decode(), data) if name else data
            return zstandard.ZstdDecompressor().decompress(packed, max_output_size=_LARGEST_BYTES)
        except (SealBroken, PayloadUnreadable, UnicodeDecodeError, zstandard.ZstdError) as error:
            raise Unreadable from error
