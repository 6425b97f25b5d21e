"""Puts the content of files into the parts of items that name them by `file_id`.

The stored request keeps the ids: the bytes are read where a provider's request is built, for each model call anew. A
file that was deleted since leaves a line of text, because the response that named it may be continued for long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from open_responses.errors import ContextTooLarge, InvalidRequest, NotFound
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


async def with_heads(files: FileStore, tenant: str, asked: CreateResponse, most_bytes: int) -> CreateResponse:
    """The request, with the beginning of each named file: enough to check whether a provider takes it.

    Raises NotFound for a file that the tenant does not have, InvalidRequest for an `input_image` that is no image, and
    ContextTooLarge for files of more than `most_bytes` together.
    """
    items = asked.input_items()
    named = list(parts_with_files(items))
    if not named:
        return asked
    found = await asyncio.to_thread(_heads, files, tenant, [part.file_id or "" for _, part in named])
    size = 0
    for path, part in named:
        if part.file_id not in found:
            raise NotFound(f"File with id {(part.file_id or '')[:80]!r} not found.", param=f"{path}.file_id")
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


async def with_files(files: FileStore, tenant: str, items: Sequence[InputItem], most_bytes: int) -> list[InputItem]:
    """The items, with the content of each named file. Raises ContextTooLarge, and OSError if a file cannot be read."""
    named = list(parts_with_files(items))
    if not named:
        return list(items)
    return await asyncio.to_thread(_whole, files, tenant, items, [part for _, part in named], most_bytes)


def _heads(files: FileStore, tenant: str, file_ids: Sequence[str]) -> dict[str, tuple[StoredFile, bytes]]:
    found = files.get_all(file_ids, tenant)
    return {file_id: (file, _head(file)) for file_id, file in found.items()}


def _head(file: StoredFile) -> bytes:
    with file.path.open("rb") as opened:
        head = opened.read(HEAD_BYTES)
    return whole_characters(head) or head


def _whole(
    files: FileStore, tenant: str, items: Sequence[InputItem], parts: Sequence[Part], most_bytes: int
) -> list[InputItem]:
    found: Mapping[str, StoredFile] = files.get_all([part.file_id or "" for part in parts], tenant)
    sizes = [found[part.file_id].bytes for part in parts if part.file_id is not None and part.file_id in found]
    if sum(sizes) > most_bytes:
        raise _too_large(most_bytes, None)

    def fill(part: Part) -> Part | InputText:
        file = found.get(part.file_id or "")
        try:
            data = None if file is None else file.path.read_bytes()
        except FileNotFoundError:
            data = None
        if file is None or data is None:
            name = part.filename if isinstance(part, InputFile) else None
            return InputText(type="input_text", text=f"[The file {name or part.file_id} was deleted.]")
        return with_content(part, file.filename, data)

    return filled(items, fill)


def _too_large(most_bytes: int, param: str | None) -> ContextTooLarge:
    return ContextTooLarge(
        f"The files that your request and the conversation name are together larger than {most_bytes} bytes, the most "
        "that this server sends to a provider. Name fewer or smaller files.",
        param=param,
    )
