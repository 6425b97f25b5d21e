"""Puts the content of files into the parts of items that name them by `file_id`.

The stored request keeps the ids: the bytes are read where a provider's request is built, for each model call anew. A
file that was deleted since leaves a line of text, because the response that named it may be continued for long.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from open_responses.errors import ContextTooLarge, InvalidRequest, NotFound, Unavailable
from open_responses.io.files.file_store import FileStore, StoredFile
from open_responses.models.named_files import (
    HEAD_BYTES,
    Part,
    filled,
    media_type,
    parts_with_files,
    whole_characters,
    with_content,
)
from open_responses.schema.content import InputFile, InputImage, InputText
from open_responses.schema.items import InputItem
from open_responses.schema.requests import CreateResponse

_AGAIN_SECONDS = 2.0


async def with_heads(files: FileStore, tenant: str, asked: CreateResponse, most_bytes: int) -> CreateResponse:
    """Return the request with the beginning of each named file: enough to check whether a provider takes it.

    Args:
        files: The files of this server.
        tenant: The owner of the request.
        asked: The request.
        most_bytes: The most bytes that all named files have together.

    Raises:
        NotFound: The tenant does not have a file.
        InvalidRequest: The file of an `input_image` is no image.
        ContextTooLarge: The files have more than `most_bytes` together.
    """
    items = asked.input_items()
    named = list(parts_with_files(items))
    if not named:
        return asked
    found = await asyncio.to_thread(_heads, files, tenant, [part.file_id or "" for _, part in named])
    size = 0
    for path, part in named:
        if part.file_id not in found:
            raise _unknown(part, path)
        file, head = found[part.file_id]
        if isinstance(part, InputImage) and not media_type(file.filename, head).startswith("image/"):
            raise InvalidRequest(
                f"'{path}' names a file that is no image. Send it as an 'input_file'.",
                param=path,
                code="unsupported_content",
            )
        size += file.bytes
        if size > most_bytes:
            raise _too_large(most_bytes, f"{path}.file_id")

    def fill(part: Part) -> Part:
        file, head = found[part.file_id or ""]
        return with_content(part, file.filename, head)

    return asked.model_copy(update={"input": filled(items, fill)})


async def check_named(files: FileStore, tenant: str, items: Sequence[InputItem], path: str) -> None:
    """Raises NotFound for a file that the items name and the tenant does not have. `path` is that of the items."""
    named = list(parts_with_files(items, path))
    if not named:
        return
    found = await asyncio.to_thread(files.get_all, [part.file_id or "" for _, part in named], tenant)
    for where, part in named:
        if part.file_id not in found:
            raise _unknown(part, where)


def _unknown(part: Part, path: str) -> NotFound:
    return NotFound(f"File with id {(part.file_id or '')[:80]!r} not found.", param=f"{path}.file_id")


@dataclass(frozen=True, slots=True)
class NamedFiles:
    """The content of the files that a conversation names, by their ids. A file that is gone is not among them."""

    contents: Mapping[str, tuple[str, bytes]]

    def put_into(self, items: Sequence[InputItem]) -> list[InputItem]:
        """The items, with the content of each named file."""
        return filled(items, self._fill)

    def _fill(self, part: Part) -> Part | InputText:
        found = self.contents.get(part.file_id or "")
        if found is None:
            name = part.filename if isinstance(part, InputFile) else None
            return InputText(type="input_text", text=f"[The file {name or part.file_id} was deleted.]")
        return with_content(part, *found)


async def read_named(files: FileStore, tenant: str, items: Sequence[InputItem], most_bytes: int) -> NamedFiles:
    """Return the files that the items name.

    Args:
        files: The files of this server.
        tenant: The owner of the items.
        items: The items.
        most_bytes: The most bytes of all named files together. A file that is named twice counts twice.

    Raises:
        ContextTooLarge: The files have more than `most_bytes`.
        Unavailable: A file cannot be read now.
    """
    named = [part.file_id or "" for _, part in parts_with_files(items)]
    if not named:
        return NamedFiles({})
    try:
        return NamedFiles(await asyncio.to_thread(_contents, files, tenant, named, most_bytes))
    except (OSError, sqlite3.Error) as error:
        raise Unavailable(f"The files of the request cannot be read: {error}.", retry_after=_AGAIN_SECONDS) from error


def _contents(files: FileStore, tenant: str, named: Sequence[str], most_bytes: int) -> dict[str, tuple[str, bytes]]:
    found = files.get_all(named, tenant)
    # A file that is named twice is sent twice.
    if sum(found[file_id].bytes for file_id in named if file_id in found) > most_bytes:
        raise _too_large(most_bytes, None)
    contents: dict[str, tuple[str, bytes]] = {}
    for file_id, file in found.items():
        with contextlib.suppress(FileNotFoundError):
            contents[file_id] = (file.filename, file.path.read_bytes())
    return contents


def _heads(files: FileStore, tenant: str, file_ids: Sequence[str]) -> dict[str, tuple[StoredFile, bytes]]:
    found = files.get_all(file_ids, tenant)
    return {file_id: (file, _head(file)) for file_id, file in found.items()}


def _head(file: StoredFile) -> bytes:
    with file.path.open("rb") as opened:
        head = opened.read(HEAD_BYTES)
    return whole_characters(head) or head


def _too_large(most_bytes: int, param: str | None) -> ContextTooLarge:
    return ContextTooLarge(
        f"The files that your request and the conversation name are together larger than {most_bytes} bytes, the most "
        "that this server sends to a provider. Name fewer or smaller files.",
        param=param,
    )
