"""The keys that encrypt payloads in Temporal: those of the installation, and those of single responses.

What this prevents: a response with `store: false` that stays readable in Temporal's tables, their backups and
write-ahead logs after its deletion. Its payloads are encrypted with a key of its own, in a file that the erasure
overwrites. The files are also the list of the responses to erase: each is created before its response begins, and
removed last.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from open_responses.ids import is_id
from open_responses.io.private_files import create_private_file
from open_responses.io.sealing import SealBroken, Sealer, key_id

_KEY_BYTES, _SALT_BYTES, _NONCE_BYTES = 32, 16, 12
_PURPOSE = b"open_responses payload v1"
# An id is free again a day after its response was erased at the earliest.
_WITHOUT_SECONDS = 10.0
_MOST_REMEMBERED = 10_000


class PayloadUnreadable(Exception):
    """A payload that this process cannot decrypt. The message names the key, and has none of the content."""


class PayloadKeys:
    """Encrypts and decrypts the payloads of workflows.

    The key is the response's own, if it has one; else the newest of the installation; else none.
    """

    def __init__(self, shared: Sequence[bytes] = (), responses: ResponseKeys | None = None) -> None:
        self._shared = {key_id(key): key for key in shared}
        self._newest = key_id(shared[0]) if shared else None
        self.responses = responses

    @property
    def has_shared(self) -> bool:
        """Whether the installation has a key, so that all payloads are encrypted."""
        return self._newest is not None

    def encrypt(self, plain: bytes, workflow_id: str | None) -> tuple[str, bytes] | None:
        """The key's name, and salt, nonce and ciphertext in one; None if there is no key."""
        own = self.responses.find_soon_again(workflow_id) if self.responses is not None and workflow_id else None
        if own is not None:
            assert workflow_id is not None
            return workflow_id, _encrypt(own, plain)
        if self._newest is not None:
            return self._newest, _encrypt(self._shared[self._newest], plain)
        return None

    def decrypt(self, name: str, data: bytes | memoryview) -> bytes:
        """Decrypt a payload. Raises PayloadUnreadable for a missing key, or data that was changed."""
        key = self._named(name)
        salt, rest = bytes(data[:_SALT_BYTES]), memoryview(data)[_SALT_BYTES:]
        try:
            return AESGCM(_derived(key, salt)).decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], _PURPOSE)
        except (InvalidTag, ValueError):
            raise PayloadUnreadable(f"a payload of key {name[:80]} was changed") from None

    def _named(self, name: str) -> bytes:
        if is_id("resp_", name):
            key = self.responses.find(name) if self.responses is not None else None
            if key is not None:
                return key
            raise PayloadUnreadable(
                f"the key of {name} is gone: the response was not to be stored and has ended, or this process sees "
                "another directory than the others: OPEN_RESPONSES_BLOB_DIR"
            )
        if name in self._shared:
            return self._shared[name]
        raise PayloadUnreadable(
            f"encrypted with key {name[:80]}, which this process does not have: all processes need the same "
            "OPEN_RESPONSES_ENCRYPTION_KEYS"
        )


class ResponseKeys:
    """A key file for each response with `store: false`, in a directory that all processes share.

    With a sealer, the keys on disk are sealed. A file's modification time is that of the last read of the response.
    """

    def __init__(self, directory: Path, sealer: Sealer | None = None) -> None:
        self._directory = directory
        self._sealer = sealer
        self._without: dict[str, float] = {}

    def make(self, response_id: str) -> None:
        """Create the key, unless there is one. The file appears complete or not at all, and is synced to disk."""
        self._without.pop(response_id, None)
        path = self._directory / response_id
        if path.exists():
            return
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = os.urandom(_KEY_BYTES)
        content = key if self._sealer is None else self._sealer.seal(key, bound_to=response_id).encode()
        create_private_file(path, content)

    def find(self, response_id: str) -> bytes | None:
        """The key; None for a response without its own key, or whose key was destroyed."""
        if not is_id("resp_", response_id):
            return None
        try:
            content = (self._directory / response_id).read_bytes()
        except FileNotFoundError:
            return None
        if len(content) == _KEY_BYTES:
            return content
        if self._sealer is None:
            raise PayloadUnreadable(
                f"the key of {response_id} is sealed, and OPEN_RESPONSES_ENCRYPTION_KEYS is not set here"
            )
        try:
            return self._sealer.unseal(content.decode(), bound_to=response_id)
        except SealBroken as error:
            raise PayloadUnreadable(f"the key of {response_id}: {error}") from None

    def find_soon_again(self, response_id: str) -> bytes | None:
        """Do the same as `find`, for a payload that is to be written.

        That a response has no key is remembered for some seconds. A key is created before the first payload of its
        response, and each response has a dozen payloads.
        """
        now = time.monotonic()
        if self._without.get(response_id, now) > now:
            return None
        key = self.find(response_id)
        if key is None:
            if len(self._without) >= _MOST_REMEMBERED:
                self._without.clear()
            self._without[response_id] = now + _WITHOUT_SECONDS
        return key

    def touch(self, response_id: str) -> None:
        """Record a read of the response."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self._directory / response_id)

    def throw_away(self, response_id: str) -> None:
        """Overwrite the key, then remove it. A file system may keep copies that this cannot overwrite."""
        path = self._directory / response_id
        with contextlib.suppress(FileNotFoundError):
            size = path.stat().st_size
            with path.open("r+b") as file:
                file.write(os.urandom(size))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()

    def silent_for(self, seconds: float) -> Iterator[str]:
        """The responses with a key that were not read for `seconds`. Removes incomplete files that a crash left."""
        before = time.time() - seconds
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self._directory):
                with contextlib.suppress(FileNotFoundError):
                    if entry.stat().st_mtime >= before:
                        continue
                    if is_id("resp_", entry.name):
                        yield entry.name
                    elif entry.name.startswith("."):
                        os.unlink(entry.path)


def _encrypt(key: bytes, plain: bytes) -> bytes:
    """Encrypt with a key derived for this payload: random nonces under one key last for 2^32 payloads only."""
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    return salt + nonce + AESGCM(_derived(key, salt)).encrypt(nonce, plain, _PURPOSE)


def _derived(key: bytes, salt: bytes) -> bytes:
    return hmac.new(key, _PURPOSE + salt, hashlib.sha256).digest()
