"""`/v1/vector_stores` and `/v1/vector_stores/{id}`: create, list, change, delete and search."""

from __future__ import annotations

import asyncio
import os

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
from open_responses.errors import NotFound
from open_responses.io.files.engine import embedding_of
from open_responses.io.files.searching import DEFAULT_RESULTS
from open_responses.io.files.store_rows import StoreRow
from open_responses.schema.vector_store_bodies import DeletedVectorStore, SearchResultsPage, VectorStore
from open_responses.schema.vector_store_requests import (
    AttachFile,
    CreateVectorStore,
    ModifyVectorStore,
    SearchVectorStore,
)

router = APIRouter(prefix="/v1/vector_stores")


@router.post("")
async def create_vector_store(request: Request, state: State, tenant: Tenant) -> Response:
    """Create a vector store, empty or with files."""
    given = await read_json(CreateVectorStore, request)
    limits = state.settings.config.vector_stores
    files = [AttachFile(file_id=one, chunking_strategy=given.chunking_strategy) for one in given.file_ids or ()]
    await _check_files(state, tenant, files)
    store = await asyncio.to_thread(
        state.folder.stores.create,
        tenant,
        name=given.name or "",
        description=given.description,
        metadata=given.metadata or {},
        expires_days=None if given.expires_after is None else given.expires_after.days,
        embedding=embedding_of(state.settings.config, os.environ).name,
        most=limits.max_stores,
    )
    if files:
        await attach(state, store, files, path="file_ids[{}]", as_batch=True)
    return json_response(await _shown(state, store))


@router.get("")
async def list_vector_stores(request: Request, state: State, tenant: Tenant) -> Response:
    """A page of the tenant's stores, newest first unless `order=asc`."""
    asked = page_asked(request)
    page = await asyncio.to_thread(
        state.folder.stores.page,
        tenant,
        limit=asked.limit,
        after=asked.after,
        before=asked.before,
        newest_first=asked.newest_first,
    )
    shown = [] if page is None else await asyncio.to_thread(state.folder.stores.shown, page[0])
    return page_response(page, shown)


@router.get("/{vector_store_id}")
async def get_vector_store(vector_store_id: str, state: State, tenant: Tenant) -> Response:
    return json_response(await _shown(state, await owned_store(state, tenant, vector_store_id)))


@router.post("/{vector_store_id}")
async def modify_vector_store(request: Request, vector_store_id: str, state: State, tenant: Tenant) -> Response:
    """Change the name, the metadata or the expiry. What is not sent stays."""
    given = await read_json(ModifyVectorStore, request)
    store = await live_store(state, tenant, vector_store_id)
    changes: dict[str, object] = {}
    if "name" in given.model_fields_set:
        changes["name"] = given.name or ""
    if "metadata" in given.model_fields_set:
        changes["metadata"] = given.metadata or {}
    if "expires_after" in given.model_fields_set:
        changes["expires_days"] = None if given.expires_after is None else given.expires_after.days
    await asyncio.to_thread(state.folder.stores.modify, store.id, changes)
    return json_response(await _shown(state, await owned_store(state, tenant, vector_store_id)))


@router.delete("/{vector_store_id}")
async def delete_vector_store(vector_store_id: str, state: State, tenant: Tenant) -> Response:
    """Delete a store with its index. Its files are kept."""
    if not await asyncio.to_thread(state.folder.stores.delete, vector_store_id, tenant):
        raise NotFound(f"Vector store with id {vector_store_id[:80]!r} not found.", param="vector_store_id")
    deleted: DeletedVectorStore = {"id": vector_store_id, "object": "vector_store.deleted", "deleted": True}
    return json_response(deleted)


@router.post("/{vector_store_id}/search")
async def search_vector_store(request: Request, vector_store_id: str, state: State, tenant: Tenant) -> Response:
    """The chunks that fit the query best."""
    given = await read_json(SearchVectorStore, request)
    store = await live_store(state, tenant, vector_store_id)
    found = await state.folder.search.search(
        [store],
        given.queries,
        embedding_of(state.settings.config, os.environ),
        filter=given.filters,
        ranking=given.ranking_options,
        most=given.max_num_results or DEFAULT_RESULTS,
    )
    page: SearchResultsPage = {
        "object": "vector_store.search_results.page",
        "search_query": given.queries,
        "data": [
            {
                "file_id": one.file_id,
                "filename": one.filename,
                "score": one.score,
                "attributes": one.attributes,
                "content": [{"type": "text", "text": one.text}],
            }
            for one in found
        ],
        "has_more": False,
        "next_page": None,
    }
    return json_response(page)


async def _check_files(state: AppState, tenant: str, files: list[AttachFile]) -> None:
    """Before the store is made: a request with an unknown file makes none."""
    known = await asyncio.to_thread(state.folder.files.get_all, [file.file_id for file in files], tenant)
    for index, file in enumerate(files):
        if file.file_id not in known:
            raise NotFound(f"File with id {file.file_id[:80]!r} not found.", param=f"file_ids[{index}]")


async def _shown(state: AppState, store: StoreRow) -> VectorStore:
    (shown,) = await asyncio.to_thread(state.folder.stores.shown, [store])
    return shown
