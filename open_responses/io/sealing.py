"""Seals keys and the secrets of requests, with AES-256-GCM, before they are written to Temporal or Redis.

What this prevents: an MCP server's token in a workflow's history, which operators and backups can read. A sealed text
is bound to its response or tenant, so that it cannot be used in another one.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from open_responses.io.private_files import create_private_file
from open_responses.io.settings import ConfigError

_PREFIX = "sealed:v1:"
_KEY_BYTES, _NONCE_BYTES, _KEY_ID_DIGITS = 32, 12, 8
# A multiple of four: each piece of base64 is decoded by itself.
_PIECE_BYTES = 1024 * 1024


class SealBroken(Exception):
    """A sealed text that cannot be opened. The message has the reason, and none of the content."""


class Sealer:
    """Seals with the first key and opens with any, so that keys can be rotated."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._ciphers = {key_id(key): AESGCM(key) for key in keys}
        self._newest = key_id(keys[0])

    def seal(self, plain: bytes, *, bound_to: str) -> str:
        """Seal a text, as `sealed:v1:<key id>:<base64url of nonce and ciphertext>`.

        Args:
            plain: The content.
            bound_to: The owner. `unseal` needs the same.
        """
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._ciphers[self._newest].encrypt(nonce, plain, bound_to.encode())
        return f"{_PREFIX}{self._newest}:{base64.urlsafe_b64encode(sealed).decode()}"

    def unseal(self, text: str, *, bound_to: str) -> bytes:
        """Open a sealed text.

        Raises:
            SealBroken: The key is missing, the owner is another one, or the text was changed.
        """
        name, _, body = text.removeprefix(_PREFIX).partition(":")
        if not text.startswith(_PREFIX) or not body:
            raise SealBroken("this is not a sealed text")
        cipher = self._cipher(name)
        try:
            raw = base64.b64decode(body, altchars=b"-_", validate=True)
            return cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], bound_to.encode())
        except (InvalidTag, ValueError):
            raise SealBroken("the sealed text was changed, or belongs elsewhere") from None

    def unseal_file(self, file: IO[bytes], *, bound_to: str) -> bytes:
        """As `unseal`, for a text in a file, which may be large: it is never in memory as a whole."""
        head = file.read(len(_PREFIX) + _KEY_ID_DIGITS + 1).decode("ascii", "replace")
        if not head.startswith(_PREFIX) or not head.endswith(":"):
            raise SealBroken("this is not a sealed text")
        cipher, raw = self._cipher(head[len(_PREFIX) : -1]), bytearray()
        try:
            while piece := file.read(_PIECE_BYTES):
                raw += base64.b64decode(piece, altchars=b"-_", validate=True)
            view = memoryview(raw)
            return cipher.decrypt(view[:_NONCE_BYTES], view[_NONCE_BYTES:], bound_to.encode())
        except (InvalidTag, ValueError):
            raise SealBroken("the sealed text was changed, or belongs elsewhere") from None

    def _cipher(self, name: str) -> AESGCM:
        cipher = self._ciphers.get(name)
        if cipher is None:
            raise SealBroken(
                f"sealed with key {name}, which this process does not have: all processes need the same "
                "OPEN_RESPONSES_ENCRYPTION_KEYS"
            )
        return cipher


def configured_keys(encryption_keys: str | None) -> list[bytes]:
    """The keys of `OPEN_RESPONSES_ENCRYPTION_KEYS` (base64, comma-separated), the newest first. Raises ConfigError."""
    if not encryption_keys:
        return []
    return [_decoded(text.strip(), "OPEN_RESPONSES_ENCRYPTION_KEYS") for text in encryption_keys.split(",")]


def load_sealer(encryption_keys: str | None, data_dir: Path) -> Sealer:
    """A sealer with the configured keys, or with the key in `<data_dir>/secret.key`.

    The first call creates the file, which only processes on one machine share. Raises ConfigError.
    """
    if keys := configured_keys(encryption_keys):
        return Sealer(keys)
    path = data_dir / "secret.key"
    try:
        return Sealer([_decoded(_kept(path), str(path))])
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}. Make the file readable and writable, or set OPEN_RESPONSES_ENCRYPTION_KEYS"
        ) from error


def _kept(path: Path) -> bytes:
    """The content of the key file, which is created if there is none. Of several processes, one creates it."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        create_private_file(path, base64.b64encode(os.urandom(_KEY_BYTES)))
    return path.read_bytes().strip()


def _decoded(text: str | bytes, where: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        raise ConfigError(f"{where}: a key must be base64 (make one with `openssl rand -base64 32`)") from None
    if len(key) != _KEY_BYTES:
        raise ConfigError(
            f"{where}: a key must have {_KEY_BYTES} bytes, but has {len(key)} (make one with `openssl rand -base64 32`)"
        )
    return key


def key_id(key: bytes) -> str:
    """A name for a key, from which the key cannot be computed."""
    return hashlib.sha256(key).hexdigest()[:_KEY_ID_DIGITS]
