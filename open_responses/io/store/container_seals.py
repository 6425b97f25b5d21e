"""Packs the contents of containers: compressed, encrypted with their response's key if it has one, and sealed.

A seal is bound to tenant and container, because a state is code that the interpreter trusts.
"""

from __future__ import annotations

import io
import shutil
from typing import IO

import zstandard

from open_responses.io.sealing import SealBroken, Sealer
from open_responses.io.temporal.payload_keys import PayloadKeys, PayloadUnreadable, ResponseKeys

_PIECE_BYTES = 1024 * 1024


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
        plain = io.BytesIO()
        self.unpack_file(io.BytesIO(content), plain, bound_to=bound_to)
        return plain.getvalue()

    def unpack_file(self, content: IO[bytes], plain: IO[bytes], *, bound_to: str) -> None:
        """Write the plain content of a file into another. Raises Unreadable, and has written nothing then.

        Its memory is twice the compressed content, and none of that after it has returned.
        """
        try:
            packed = self._opened(content, bound_to)
            with zstandard.ZstdDecompressor().stream_reader(packed) as pieces:
                shutil.copyfileobj(pieces, plain, _PIECE_BYTES)
        except (SealBroken, PayloadUnreadable, UnicodeDecodeError, zstandard.ZstdError) as error:
            raise Unreadable from error

    def _opened(self, content: IO[bytes], bound_to: str) -> bytes | memoryview:
        opened = self._sealer.unseal_file(content, bound_to=bound_to)
        end = opened.find(b"\n")
        name, data = opened[:end].decode(), memoryview(opened)[end + 1 :]
        return self._keys.decrypt(name, data) if name else data
