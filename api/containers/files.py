"""`/v1/containers/{id}/files` and the paths below it: upload, list, read and delete the files of a container."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import IO, TypeVar
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from api.app_state import AppState
from api.body import model_of, read_body
from api.containers.access import (
    busy,
    checked,
    containers_of,
    file_of,
    file_resource,
    free_path,
    json_response,
    named_files,
    owned_container,
    page_of,
    table_of,
    take_room,
    with_files,
)
from api.dependencies import State, Tenant
from api.files.multipart import read_form
from api.files.routes import unknown_file
from api.paging import check_names, is_newest_first, list_object, page_limit
from open_responses.errors import InvalidRequest, OpenResponsesError
from open_responses.ids import new_id
from open_responses.schema.container_bodies import AddContainerFile, DeletedContainerFile
from open_responses.schema.validation import read_json_object, shorten
from open_responses.tool_use.container_files import ContainerFile, FileGone

T = TypeVar("T")

router = APIRouter(prefix="/v1/containers/{container_id}/files")

_LISTED = frozenset({"after", "limit", "order"})
_IN_MEMORY_BYTES = 1024 * 1024
_TRIES = 8
_PIECE_BYTES = 64 * 1024
# A file is sealed and opened as a whole: one at a time, so that uploads and downloads do not fill the memory.
_sealing = asyncio.Semaphore(1)


@router.post("")
async def create_container_file(request: Request, container_id: str, state: State, tenant: Tenant) -> Response:
    """Upload a file into a container (a form with `file`), or add one of `/v1/files` (JSON with `file_id`)."""
    await owned_container(state, tenant, container_id)
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        added = await _uploaded(request, state, tenant, container_id)
    else:
        added = await _named(request, state, tenant, container_id)
    return json_response(file_resource(container_id, added))


@router.get("")
async def list_container_files(request: Request, container_id: str, state: State, tenant: Tenant) -> Response:
    """A page of the container's files, newest first unless `order=asc`."""
    query = request.query_params
    check_names(query, _LISTED)
    limit, newest_first = page_limit(query.get("limit")), is_newest_first(query.get("order"))
    container = await owned_container(state, tenant, container_id)
    files, has_more = page_of(container.files, limit=limit, after=query.get("after"), newest_first=newest_first)
    shown = [dict(file_resource(container_id, file)) for file in files]
    return json_response(list_object(shown, has_more=has_more))


@router.get("/{file_id}")
async def get_container_file(container_id: str, file_id: str, state: State, tenant: Tenant) -> Response:
    file = file_of(await owned_container(state, tenant, container_id), file_id)
    return json_response(file_resource(container_id, file))


@router.get("/{file_id}/content")
async def get_container_file_content(container_id: str, file_id: str, state: State, tenant: Tenant) -> Response:
    """The bytes of a file."""
    for _ in range(_TRIES):
        file = file_of(await owned_container(state, tenant, container_id), file_id)
        # Never a type that a browser would show: a page of a tenant's would run under this server's origin.
        headers = {
            "content-type": "application/octet-stream",
            "x-content-type-options": "nosniff",
            "content-disposition": f"attachment; filename*=utf-8''{quote(file.path.rpartition('/')[2], safe='')}",
        }
        if file.content is None:
            return await _lent(state, tenant, file, headers)
        plain = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115 - the answer closes it
        try:
            async with _sealing:
                copy = containers_of(state).copy_content
                await asyncio.to_thread(copy, tenant, container_id, file.content, plain)
        except FileGone:
            # Code has written the file again meanwhile.
            plain.close()
            continue
        except BaseException:
            plain.close()
            raise
        return _PlainFile(plain, headers)
    raise busy(container_id)


@router.delete("/{file_id}")
async def delete_container_file(container_id: str, file_id: str, state: State, tenant: Tenant) -> Response:
    """Delete a file of a container. A file of `/v1/files` itself is kept."""

    def without(files: Sequence[ContainerFile]) -> tuple[list[ContainerFile], None]:
        if not any(file.id == file_id for file in files):
            raise unknown_file(file_id)
        return [file for file in files if file.id != file_id], None

    await _change(state, tenant, container_id, without)
    deleted: DeletedContainerFile = {"id": file_id, "object": "container.file.deleted", "deleted": True}
    return json_response(deleted)


async def _uploaded(request: Request, state: AppState, tenant: str, container_id: str) -> ContainerFile:
    most_bytes = table_of(state).max_files_mb * 2**20
    containers = containers_of(state)
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as spooled:

        async def write(data: bytes) -> None:
            await asyncio.to_thread(spooled.write, data)

        form = await read_form(request, most=most_bytes, write=write)
        unknown = next(iter(form.fields), None)
        if unknown is not None:
            raise InvalidRequest(
                f"'{shorten(unknown)}' is not a known parameter. Send 'file' alone.",
                param=shorten(unknown),
                code="unknown_parameter",
            )
        container = await owned_container(state, tenant, container_id)
        new = ContainerFile(new_id("cfile_"), "", form.size, int(time.time()), "user")
        checked([*container.files, new], most_bytes)
        spooled.seek(0)
        await take_room(state, tenant, form.size)
        async with _sealing:
            data = await asyncio.to_thread(spooled.read)
            content = await asyncio.to_thread(containers.write_content, tenant, container_id, data)

    def with_new(files: Sequence[ContainerFile]) -> tuple[list[ContainerFile], ContainerFile]:
        added = replace(new, path=free_path(files, form.filename or "file"), content=content)
        changed = [*files, added]
        checked(changed, most_bytes)
        return changed, added

    try:
        return await _change(state, tenant, container_id, with_new)
    except OpenResponsesError:
        # After any other exception it stays until it is old: the version that lists it may be on disk.
        await asyncio.to_thread(containers.remove_contents, container_id, [content])
        raise


async def _named(request: Request, state: AppState, tenant: str, container_id: str) -> ContainerFile:
    body = await read_body(request, state.settings.max_body_bytes)
    given = model_of(AddContainerFile, read_json_object(body))
    most_bytes = table_of(state).max_files_mb * 2**20
    named = await named_files(state, tenant, [given.file_id], "file_id")

    def with_named(files: Sequence[ContainerFile]) -> tuple[list[ContainerFile], ContainerFile]:
        changed = with_files(files, named, most_bytes, int(time.time()))
        return changed, next(file for file in changed if file.file_id == given.file_id)

    return await _change(state, tenant, container_id, with_named)


async def _change(
    state: AppState,
    tenant: str,
    container_id: str,
    change: Callable[[Sequence[ContainerFile]], tuple[list[ContainerFile], T]],
) -> T:
    """Change the files, on the newest version of the container. A call that runs meanwhile begins again on that one."""
    containers = containers_of(state)
    for _ in range(_TRIES):
        container = await owned_container(state, tenant, container_id)
        files, result = change(container.files)
        after = replace(container, files=tuple(files))
        if await asyncio.to_thread(containers.write, tenant, container_id, after, container.files):
            return result
    raise busy(container_id)


async def _lent(state: AppState, tenant: str, file: ContainerFile, headers: dict[str, str]) -> Response:
    """The bytes of a file of `/v1/files`. Raises NotFound if that was deleted."""
    stored = await asyncio.to_thread(state.folder.files.get, file.file_id or "", tenant)
    try:
        if stored is not None:
            status = await asyncio.to_thread(stored.path.stat)
            return FileResponse(stored.path, stat_result=status, headers=headers)
    except FileNotFoundError:
        pass
    raise unknown_file(file.id)


class _PlainFile(StreamingResponse):
    """Sends a temporary file in pieces, so that a slow reader does not hold it in memory, and closes it."""

    def __init__(self, file: IO[bytes], headers: dict[str, str]) -> None:
        self._file = file
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        super().__init__(self._pieces(), headers={**headers, "content-length": str(size)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()

    async def _pieces(self) -> AsyncIterator[bytes]:
        while piece := await asyncio.to_thread(self._file.read, _PIECE_BYTES):
            yield piece
