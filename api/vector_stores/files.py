"""`/v1/vector_stores/{id}/files`: attach, list, change, read and remove the files of a store."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.app_state import AppState
from api.dependencies import State, Tenant
from api.vector_stores.access import (
    attach,
    json_response,
    live_store,
    owned_store,
    page_asked,
    page_response,
    read_json,
)
from open_responses.errors import InvalidRequest, NotFound
from open_responses.io.files.store_rows import STATUSES, StoreFileRow
from open_responses.schema.validation import one_of, shorten
from open_responses.schema.vector_store_bodies import DeletedVectorStoreFile, FileContentPage
from open_responses.schema.vector_store_requests import AttachFile, ModifyAttributes

router = APIRouter(prefix="/v1/vector_stores/{vector_store_id}/files")


@router.post("")
async def attach_file(request: Request, vector_store_id: str, state: State, tenant: Tenant) -> Response:
    """Attach a file. It is ingested in the background; one that is attached already is ingested again."""
    given = await read_json(AttachFile, request)
    store = await live_store(state, tenant, vector_store_id)
    await attach(state, store, [given], path="file_id", as_batch=False)
    return json_response((await attached_file(state, store.id, given.file_id)).resource())


@router.get("")
async def list_attached_files(request: Request, vector_store_id: str, state: State, tenant: Tenant) -> Response:
    """A page of the files, newest first unless `order=asc`; with `filter`, those of one status."""
    store = await owned_store(state, tenant, vector_store_id)
    return await page_of_files(request, state, store.id)


@router.get("/{file_id}")
async def get_attached_file(vector_store_id: str, file_id: str, state: State, tenant: Tenant) -> Response:
    store = await owned_store(state, tenant, vector_store_id)
    return json_response((await attached_file(state, store.id, file_id)).resource())


@router.post("/{file_id}")
async def modify_attached_file(
    request: Request, vector_store_id: str, file_id: str, state: State, tenant: Tenant
) -> Response:
    """Replace all attributes."""
    given = await read_json(ModifyAttributes, request)
    store = await live_store(state, tenant, vector_store_id)
    await attached_file(state, store.id, file_id)
    await asyncio.to_thread(state.folder.store_files.set_attributes, store.id, file_id, given.attributes or {})
    return json_response((await attached_file(state, store.id, file_id)).resource())


@router.delete("/{file_id}")
async def remove_file(vector_store_id: str, file_id: str, state: State, tenant: Tenant) -> Response:
    """Remove a file from the store. The file itself is kept."""
    store = await owned_store(state, tenant, vector_store_id)
    await attached_file(state, store.id, file_id)
    await asyncio.to_thread(state.folder.stores.remove_file, store.id, file_id)
    removed: DeletedVectorStoreFile = {"id": file_id, "object": "vector_store.file.deleted", "deleted": True}
    return json_response(removed)


@router.get("/{file_id}/content")
async def get_text_of_file(vector_store_id: str, file_id: str, state: State, tenant: Tenant) -> Response:
    """The text of a file, as it was read. It is there once the file is `completed`."""
    store = await live_store(state, tenant, vector_store_id)
    row = await attached_file(state, store.id, file_id)
    texts: list[str] = []
    if row.status == "completed":
        texts = await asyncio.to_thread(state.folder.stores.index(store.id).texts, file_id)
    page: FileContentPage = {
        "object": "vector_store.file_content.page",
        "data": [{"type": "text", "text": text} for text in texts],
        "has_more": False,
        "next_page": None,
    }
    return json_response(page)


async def attached_file(state: AppState, store_id: str, file_id: str) -> StoreFileRow:
    """Raises NotFound if the store has no such file."""
    row = await asyncio.to_thread(state.folder.store_files.get, store_id, file_id[:80])
    if row is None:
        raise NotFound(f"File with id {file_id[:80]!r} not found in this vector store.", param="file_id")
    return row


async def page_of_files(request: Request, state: AppState, store_id: str, batch_id: str | None = None) -> Response:
    asked = page_asked(request, "filter")
    status = request.query_params.get("filter")
    if status is not None and status not in STATUSES:
        raise InvalidRequest(
            f"'filter' must be {one_of(STATUSES)}, but is '{shorten(status)}'.", param="filter", code="invalid_value"
        )
    page = await asyncio.to_thread(
        state.folder.store_files.page,
        store_id,
        batch_id=batch_id,
        status=status,
        limit=asked.limit,
        after=asked.after,
        before=asked.before,
        newest_first=asked.newest_first,
    )
    return page_response(page, [] if page is None else [row.resource() for row in page[0]])
