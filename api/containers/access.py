"""What the routes below `/v1/containers` have in common: the containers, and the one that a path names."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import orjson
from starlette.responses import Response

from api.app_state import AppState
from api.files.routes import unknown_file
from api.paging import unknown_cursor
from open_responses.config_tables.interpreter import CodeInterpreterConfig
from open_responses.errors import Conflict, InvalidRequest, NotFound
from open_responses.ids import new_id
from open_responses.io.files.file_store import StoredFile
from open_responses.io.store.containers import Containers
from open_responses.schema.container_bodies import Container, ContainerFileObject
from open_responses.tool_use.container_files import (
    FOLDER,
    ContainerFile,
    ContainerState,
    FilesRefused,
    check_files,
    shortened_name,
)


def table_of(state: AppState) -> CodeInterpreterConfig:
    """Raises NotFound where no code runs."""
    table = state.settings.config.code_interpreter
    if table is None:
        raise NotFound("This server has no containers: [code_interpreter] is not in its configuration.")
    return table


def containers_of(state: AppState) -> Containers:
    """The containers. Raises NotFound where no code runs."""
    idle_seconds = table_of(state).idle_hours * 3600
    return Containers(state.settings.blobs, state.sealer, state.eraser.keys, idle_seconds=idle_seconds)


async def owned_container(state: AppState, tenant: str, container_id: str) -> ContainerState:
    """Raises NotFound if the container is unknown, deleted, expired or another tenant's."""
    try:
        found = await containers_of(state).load(tenant, container_id)
    except ValueError:
        raise unknown_container(container_id) from None
    if not found.exists:
        raise unknown_container(container_id)
    return found


def unknown_container(container_id: str) -> NotFound:
    return NotFound(f"Container with id {container_id[:80]!r} not found.", param="container_id")


def busy(container_id: str) -> Conflict:
    return Conflict(f"Code and other requests keep changing container {container_id}. Repeat the request later.")


def file_of(container: ContainerState, file_id: str) -> ContainerFile:
    """Raises NotFound."""
    found = next((file for file in container.files if file.id == file_id), None)
    if found is None:
        raise unknown_file(file_id)
    return found


async def named_files(state: AppState, tenant: str, file_ids: Sequence[str], path: str) -> list[StoredFile]:
    """The files of `/v1/files` that a request names. Raises NotFound, with `path` and the index as its parameter."""
    known = await asyncio.to_thread(state.folder.files.get_all, file_ids, tenant) if file_ids else {}
    for index, file_id in enumerate(file_ids):
        if file_id not in known:
            raise unknown_file(file_id, path.format(index))
    return list(known.values())


def with_files(
    files: Sequence[ContainerFile], added: Sequence[StoredFile], most_bytes: int, now: int
) -> list[ContainerFile]:
    """The container's files, and files of `/v1/files` behind them. Raises InvalidRequest if they are too many."""
    there = {file.file_id for file in files}
    found = list(files)
    for stored in added:
        if stored.id not in there:
            name = free_path(found, stored.filename)
            found.append(ContainerFile(new_id("cfile_"), name, stored.bytes, now, "user", file_id=stored.id))
    checked(found, most_bytes)
    return found


def checked(files: Sequence[ContainerFile], most_bytes: int) -> None:
    """Raises InvalidRequest for files that a container cannot have."""
    try:
        check_files(files, most_bytes)
    except FilesRefused as refused:
        raise InvalidRequest(
            f"{refused} Delete files of the container first, or send a smaller one.",
            param="file",
            code="file_quota_exceeded",
        ) from None


async def take_room(state: AppState, tenant: str, size: int) -> None:
    """Raises InvalidRequest if all containers of the tenant would be too large."""
    most = table_of(state).max_tenant_mb * 2**20
    try:
        await asyncio.to_thread(containers_of(state).take_room, tenant, size, most=most)
    except FilesRefused as refused:
        raise InvalidRequest(str(refused), param="file", code="file_quota_exceeded") from None


def free_path(files: Sequence[ContainerFile], filename: str) -> str:
    """The name for a new file: its own, or one with a number if another file has that."""
    taken = {file.path for file in files} | {file.path.split("/")[0] for file in files}
    name = shortened_name(filename.replace("\\", "/").rpartition("/")[2].strip(), 200)
    if name in ("", ".", ".."):
        name = "file"
    stem, dot, suffix = name.rpartition(".")
    at = 1
    found = name
    while found in taken:
        at += 1
        found = f"{stem}-{at}.{suffix}" if dot and stem else f"{name}-{at}"
    return found


def resource(containers: Containers, container_id: str, container: ContainerState) -> Container:
    """The container as clients get it. It blocks: call it in a thread."""
    minutes = int(containers.idle_seconds // 60)
    if container.idle_minutes is not None:
        minutes = min(minutes, container.idle_minutes)
    return {
        "id": container_id,
        "object": "container",
        "created_at": container.created_at,
        "status": "running",
        "expires_after": {"anchor": "last_active_at", "minutes": minutes},
        "last_active_at": containers.used_at(container_id) or container.created_at,
        "name": container.name,
        "network_policy": {"type": "disabled"},
    }


def file_resource(container_id: str, file: ContainerFile) -> ContainerFileObject:
    """The file as clients get it."""
    return {
        "id": file.id,
        "object": "container.file",
        "created_at": file.created_at,
        "bytes": file.bytes,
        "container_id": container_id,
        "path": f"{FOLDER}/{file.path}",
        "source": file.source,
    }


def page_of(
    files: Sequence[ContainerFile], *, limit: int, after: str | None, newest_first: bool
) -> tuple[list[ContainerFile], bool]:
    """One page of a container's files. Raises NotFound for a cursor that is none of them."""
    ordered = sorted(files, key=lambda file: (file.created_at, file.path), reverse=newest_first)
    if after is not None:
        ids = [file.id for file in ordered]
        if after not in ids:
            raise unknown_cursor()
        ordered = ordered[ids.index(after) + 1 :]
    return ordered[:limit], len(ordered) > limit


def json_response(body: Mapping[str, object]) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")
