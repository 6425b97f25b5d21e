"""`/v1/vector_stores/{id}/file_batches`: files that are attached together."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.app_state import AppState
from api.dependencies import State, Tenant
from api.vector_stores.access import attach, json_response, live_store, owned_store, read_json
from api.vector_stores.files import page_of_files
from open_responses.errors import NotFound
from open_responses.schema.vector_store_bodies import VectorStoreFileBatch
from open_responses.schema.vector_store_requests import CreateFileBatch

router = APIRouter(prefix="/v1/vector_stores/{vector_store_id}/file_batches")


@router.post("")
async def create_file_batch(request: Request, vector_store_id: str, state: State, tenant: Tenant) -> Response:
    """Attach up to 500 files."""
    given = await read_json(CreateFileBatch, request)
    store = await live_store(state, tenant, vector_store_id)
    path = "files[{}].file_id" if given.files is not None else "file_ids[{}]"
    attached = await attach(state, store, given.entries(), path=path, as_batch=True)
    return json_response(await _batch(state, store.id, attached.batch_id or ""))


@router.get("/{batch_id}")
async def get_file_batch(vector_store_id: str, batch_id: str, state: State, tenant: Tenant) -> Response:
    store = await owned_store(state, tenant, vector_store_id)
    return json_response(await _batch(state, store.id, batch_id))


@router.post("/{batch_id}/cancel")
async def cancel_file_batch(vector_store_id: str, batch_id: str, state: State, tenant: Tenant) -> Response:
    """Stop what is not ingested yet. Files that are complete stay in the store."""
    store = await owned_store(state, tenant, vector_store_id)
    await _batch(state, store.id, batch_id)
    await asyncio.to_thread(state.folder.store_files.cancel_batch, batch_id)
    return json_response(await _batch(state, store.id, batch_id))


@router.get("/{batch_id}/files")
async def list_batch_files(
    request: Request, vector_store_id: str, batch_id: str, state: State, tenant: Tenant
) -> Response:
    """A page of the batch's files."""
    store = await owned_store(state, tenant, vector_store_id)
    await _batch(state, store.id, batch_id)
    return await page_of_files(request, state, store.id, batch_id)


async def _batch(state: AppState, store_id: str, batch_id: str) -> VectorStoreFileBatch:
    found = await asyncio.to_thread(state.folder.store_files.batch, store_id, batch_id)
    if found is None:
        raise NotFound(f"File batch with id {batch_id[:80]!r} not found in this vector store.", param="batch_id")
    row, counts = found
    return row.resource(counts)
