"""`/v1/files` and the paths below it, with the forms of OpenAI's API."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import orjson
from fastapi import APIRouter, Request
from starlette.responses import FileResponse, Response

from api.app_state import AppState
from api.dependencies import State, Tenant
from api.files.multipart import Form, declared_size, read_form
from api.paging import check_names, is_newest_first, list_object, page_limit, unknown_cursor
from open_responses.errors import InvalidRequest, NotFound
from open_responses.io.files.file_store import StoredFile
from open_responses.models.media_types import IMAGE_BYTES, type_of_image
from open_responses.schema.file_bodies import PURPOSES, DeletedFile
from open_responses.schema.validation import one_of, shorten

router = APIRouter(prefix="/v1/files")

# OpenAI's bounds: an hour and 30 days.
SHORTEST_LIFE, LONGEST_LIFE = 3600, 2_592_000
LONGEST_PAGE = 10_000
_ANCHOR, _SECONDS = "expires_after[anchor]", "expires_after[seconds]"
_FIELDS = ("purpose", _ANCHOR, _SECONDS)
_LISTED = frozenset({"after", "limit", "order", "purpose"})


@router.post("")
async def create_file(request: Request, state: State, tenant: Tenant) -> Response:
    """Upload a file: a form with `file`, `purpose` and maybe `expires_after`."""
    limits = state.settings.config.files
    files = state.folder.files
    upload = await asyncio.to_thread(files.begin, tenant, declared_size(request), limits)
    begins = bytearray()

    async def write(data: bytes) -> None:
        begins.extend(data[: IMAGE_BYTES - len(begins)])
        await asyncio.to_thread(upload.incoming.write, data)

    try:
        form = await read_form(request, most=upload.most, write=write)
        purpose, seconds = _settings(form)
        _check_content(form, purpose, bytes(begins))
        assert form.filename is not None
        file = files.described(upload.file_id, tenant, form.filename, purpose, form.size, seconds)
        await asyncio.to_thread(files.complete, upload.incoming, file, limits)
    finally:
        await asyncio.to_thread(files.end, upload)
    return _json(file.resource())


@router.get("")
async def list_files(request: Request, state: State, tenant: Tenant) -> Response:
    """A page of the tenant's files, newest first unless `order=asc`."""
    query = request.query_params
    check_names(query, _LISTED)
    page = await asyncio.to_thread(
        state.folder.files.page,
        tenant,
        limit=page_limit(query.get("limit"), default=LONGEST_PAGE, longest=LONGEST_PAGE),
        after=query.get("after"),
        purpose=query.get("purpose"),
        newest_first=is_newest_first(query.get("order")),
    )
    if page is None:
        raise unknown_cursor()
    files, has_more = page
    return _json(list_object([dict(file.resource()) for file in files], has_more=has_more))


@router.get("/{file_id}")
async def get_file(file_id: str, state: State, tenant: Tenant) -> Response:
    return _json((await owned_file(state, tenant, file_id)).resource())


@router.get("/{file_id}/content")
async def get_file_content(file_id: str, state: State, tenant: Tenant) -> Response:
    """The bytes, as they were uploaded."""
    file = await owned_file(state, tenant, file_id)
    # Never a type that a browser would show: a page of a tenant's would run under this server's origin.
    try:
        size = await asyncio.to_thread(file.path.stat)
    except FileNotFoundError:
        raise unknown_file(file_id) from None
    return FileResponse(
        file.path,
        stat_result=size,
        media_type="application/octet-stream",
        filename=file.filename,
        headers={"x-content-type-options": "nosniff"},
    )


@router.delete("/{file_id}")
async def delete_file(file_id: str, state: State, tenant: Tenant) -> Response:
    """Delete a file, and what was made of it."""
    if not await asyncio.to_thread(state.folder.files.delete, file_id, tenant):
        raise unknown_file(file_id)
    deleted: DeletedFile = {"id": file_id, "object": "file", "deleted": True}
    return _json(deleted)


async def owned_file(state: AppState, tenant: str, file_id: str) -> StoredFile:
    """Raises NotFound if the file is unknown, deleted, expired or another tenant's."""
    file = await asyncio.to_thread(state.folder.files.get, file_id, tenant)
    if file is None:
        raise unknown_file(file_id)
    return file


def unknown_file(file_id: str, param: str = "file_id") -> NotFound:
    return NotFound(f"File with id {file_id[:80]!r} not found.", param=param)


def _settings(form: Form) -> tuple[str, int | None]:
    """The purpose, and after how many seconds the file expires."""
    for name in form.fields:
        if name not in _FIELDS:
            raise InvalidRequest(
                f"'{shorten(name)}' is not a known parameter. Send 'file', {one_of(_FIELDS)}, or leave it out.",
                param=shorten(name),
                code="unknown_parameter",
            )
    purpose = form.fields.get("purpose")
    if purpose is None:
        raise InvalidRequest(
            "Missing required parameter: 'purpose'.", param="purpose", code="missing_required_parameter"
        )
    if purpose not in PURPOSES:
        raise InvalidRequest(
            f"'purpose' must be {one_of(PURPOSES)}, but is '{shorten(purpose)}'.", param="purpose", code="invalid_value"
        )
    return purpose, _seconds(form)


def _seconds(form: Form) -> int | None:
    anchor, seconds = form.fields.get(_ANCHOR), form.fields.get(_SECONDS)
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise InvalidRequest(
            "'expires_after.anchor' must be 'created_at'.", param="expires_after.anchor", code="invalid_value"
        )
    is_number = seconds is not None and seconds.isascii() and seconds.isdigit() and len(seconds) <= len("2592000")
    if seconds is None or not is_number or not SHORTEST_LIFE <= int(seconds) <= LONGEST_LIFE:
        raise InvalidRequest(
            f"'expires_after.seconds' must be a whole number from {SHORTEST_LIFE} to {LONGEST_LIFE}.",
            param="expires_after.seconds",
            code="invalid_value",
        )
    return int(seconds)


def _check_content(form: Form, purpose: str, begins: bytes) -> None:
    if form.size == 0:
        raise InvalidRequest("'file' is empty. Send a file with content.", param="file", code="invalid_value")
    if purpose == "vision" and type_of_image(begins) is None:
        raise InvalidRequest(
            "'file' must be a PNG, JPEG, GIF, WebP or HEIC image if its purpose is 'vision'. Send an image, or the "
            "purpose 'user_data'.",
            param="file",
            code="unsupported_content",
        )


def _json(body: Mapping[str, object]) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")
