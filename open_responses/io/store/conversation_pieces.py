"""The items of a conversation in files, which all responses that read them share.

What this prevents: storage that grows with the square of a conversation's length. Each response has to read the
conversation as it was at its start, also if items are added or deleted later. If each start contained the items, every
item would be stored once for each response. Instead, the start names files by the hash of their content.

A file holds one of the newest exchanges, or 16 older ones, or the names of 16 files. A start then names some dozens of
files at most, and each exchange is written twice. Files never change. They are in the conversation's folder, beside its
large payloads, and are deleted with it. The sweep of old files spares those that a response has touched.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import orjson
import zstandard

from open_responses.errors import PreviousResponseNotFound
from open_responses.ids import is_id
from open_responses.io.private_files import sync
from open_responses.io.temporal.large_payloads import ClaimBroken, touch_file, write_file
from open_responses.io.temporal.payload_keys import PayloadKeys
from open_responses.loop.payloads.start import Remembered, RememberedExchange

T = TypeVar("T")

_FANOUT = 16
# A shorter conversation stays in the start: a file would cost more than it saves.
_INLINE_BYTES = 4096
_REMEMBERED_BYTES = 32 * 2**20
_NAME_LENGTH = 32
_NAME = re.compile(rf"[0-9a-f]{{{_NAME_LENGTH}}}")


class ConversationPieces:
    """Writes and reads the files.

    With `keys`, the files are encrypted and named by a keyed hash, so that a name reveals nothing about the content.
    """

    def __init__(self, blob_dir: Path, keys: Sequence[bytes] = ()) -> None:
        self._directory = blob_dir
        self._keys = PayloadKeys(keys)
        self._secret = keys[0] if keys else None
        self._known: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    async def referenced(self, conversation_id: str, remembered: Remembered) -> Remembered:
        """The exchanges by reference. The files are synced to disk when this returns. Raises OSError."""
        leaves = [exchange.model_dump_json().encode() for exchange in remembered.turns]
        if sum(map(len, leaves)) <= _INLINE_BYTES:
            return remembered
        pieces = await asyncio.to_thread(self._write_all, conversation_id, leaves)
        return Remembered(conversation_id=conversation_id, pieces=pieces)

    async def expanded(self, remembered: Remembered | None) -> Remembered | None:
        """The exchanges of the files that `remembered` names, then its own.

        Raises:
            PreviousResponseNotFound: The files were deleted with their conversation.
            ClaimBroken: A file is damaged.
        """
        if remembered is None or not remembered.pieces:
            return remembered
        exchanges = await asyncio.to_thread(self._read_all, remembered.conversation_id or "", remembered.pieces)
        return Remembered(after=remembered.after, turns=[*exchanges, *remembered.turns])

    async def are_gone(self, remembered: Remembered | None) -> bool:
        """Whether the files that `remembered` names were deleted with their conversation."""
        if remembered is None or not remembered.pieces:
            return False
        return not await asyncio.to_thread(self._folder(remembered.conversation_id or "").is_dir)

    # --- writing

    def _write_all(self, conversation_id: str, leaves: Sequence[bytes]) -> list[str]:
        folder = self._folder(conversation_id)
        full = _full(leaves)
        level = [self._write(folder, _exchanges_in(group)) for group in _groups(leaves)]
        rest = [self._write(folder, _exchanges_in([leaf])) for leaf in leaves[full:]]
        while len(level) >= _FANOUT:
            rest = level[_full(level) :] + rest
            level = [self._write(folder, orjson.dumps({"pieces": group})) for group in _groups(level)]
        sync(folder)
        sync(folder.parent)
        return level + rest

    def _write(self, folder: Path, content: bytes) -> str:
        if self._secret is None:
            name = hashlib.sha256(content).hexdigest()[:_NAME_LENGTH]
        else:
            name = hmac.new(self._secret, content, hashlib.sha256).hexdigest()[:_NAME_LENGTH]
        path = folder / name
        if not touch_file(path):
            compressed = zstandard.ZstdCompressor(level=3).compress(content)
            key, data = self._keys.encrypt(compressed, None) or ("", compressed)
            write_file(path, key.encode() + b"\n" + data, sync_directories=False)
        return name

    # --- reading

    def _read_all(self, conversation_id: str, pieces: Sequence[str]) -> list[RememberedExchange]:
        folder = self._folder(conversation_id)
        if not folder.is_dir():
            # Checked also if this process has the files in its cache.
            raise _gone(conversation_id)
        return list(self._exchanges(folder, pieces))

    def _exchanges(self, folder: Path, pieces: Sequence[str]) -> Iterator[RememberedExchange]:
        for name in pieces:
            piece = orjson.loads(self._read(folder, name))
            yield from map(RememberedExchange.model_validate, piece.get("turns", ()))
            yield from self._exchanges(folder, piece.get("pieces", ()))

    def _read(self, folder: Path, name: str) -> bytes:
        with self._lock:
            if name in self._known:
                self._known.move_to_end(name)
                return self._known[name]
        if not _NAME.fullmatch(name):
            raise ClaimBroken(f"the name of a conversation's file is not a hash: {name[:80]!r}")
        try:
            key, _, data = (folder / name).read_bytes().partition(b"\n")
        except FileNotFoundError:
            raise _gone(folder.name) from None
        try:
            compressed = self._keys.decrypt(key.decode(), data) if key else data
            content = zstandard.ZstdDecompressor().decompress(compressed)
        except (zstandard.ZstdError, UnicodeDecodeError):
            raise ClaimBroken(f"file {name} of {folder.name} is damaged") from None
        self._keep(name, content)
        return content

    def _keep(self, name: str, content: bytes) -> None:
        """Cache a file's content. Threads read the files, and two may read the same one."""
        with self._lock:
            self._size += len(content) - len(self._known.pop(name, b""))
            self._known[name] = content
            while self._size > _REMEMBERED_BYTES:
                _, oldest = self._known.popitem(last=False)
                self._size -= len(oldest)

    def _folder(self, conversation_id: str) -> Path:
        if not is_id("conv_", conversation_id):
            raise ClaimBroken(f"a start names a conversation by an invalid id: {conversation_id[:80]!r}")
        return self._directory / conversation_id


def _full(parts: Sequence[object]) -> int:
    """The number of parts in complete groups."""
    return len(parts) // _FANOUT * _FANOUT


def _groups(parts: Sequence[T]) -> list[Sequence[T]]:
    return [parts[first : first + _FANOUT] for first in range(0, _full(parts), _FANOUT)]


def _exchanges_in(leaves: Sequence[bytes]) -> bytes:
    return b'{"turns":[%b]}' % b",".join(leaves)


def _gone(conversation_id: str) -> PreviousResponseNotFound:
    return PreviousResponseNotFound(
        f"conversation {conversation_id}, which an earlier response answered, is gone: it was deleted"
    )
