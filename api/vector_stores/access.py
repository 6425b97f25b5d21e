"""What the routes below `/v1/vector_stores` have in common: bodies, pages, and the store that a path names."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import orjson
from fastapi import Request
from starlette.responses import Response

from api.app_state import AppState, state_of
from api.body import model_of, read_body
from api.files.routes import unknown_file
from api.paging import check_names, is_newest_first, list_object, page_limit, unknown_cursor
from open_responses.errors import InvalidRequest, NotFound
from open_responses.io.files.ingestion_starts import start_ingestion
from open_responses.io.files.store_files import Attached, NewStoreFile
from open_responses.io.files.store_rows import StoreRow
from open_responses.schema.off_loop import off_loop
from open_responses.schema.validation import RequestObject, read_json_object
from open_responses.schema.vector_store_requests import AttachFile, StaticChunking

Body = TypeVar("Body", bound=RequestObject)
T = TypeVar("T")

_PAGE_NAMES = frozenset({"after", "before", "limit", "order"})


async def owned_store(state: AppState, tenant: str, store_id: str, param: str = "vector_store_id") -> StoreRow:
    """Raises NotFound if the store is unknown, deleted or another tenant's."""
    store = await asyncio.to_thread(state.folder.stores.get, store_id, tenant)
    if store is None:
        raise NotFound(f"Vector store with id {store_id[:80]!r} not found.", param=param)
    return store


async def live_store(state: AppState, tenant: str, store_id: str, param: str = "vector_store_id") -> StoreRow:
    """As `owned_store`. Raises InvalidRequest for a store that has expired."""
    store = await owned_store(state, tenant, store_id, param)
    if store.is_expired:
        raise InvalidRequest(
            f"The vector store {store.id} has expired, and its index was deleted. Create another one.",
            param=param,
            code="vector_store_expired",
        )
    return store


async def attach(
    state: AppState, store: StoreRow, files: Sequence[AttachFile], *, path: str, as_batch: bool
) -> Attached:
    """Attach files, and start their ingestion. `path` names a file's id in errors: `file_id`, or `file_ids[{}]` with
    the place of its index.

    Raises NotFound for a file that the tenant does not have, and InvalidRequest for a store that is full.
    """
    folder, limits = state.folder, state.settings.config.vector_stores
    known = await asyncio.to_thread(folder.files.get_all, [file.file_id for file in files], store.tenant)
    chosen: dict[str, NewStoreFile] = {}
    for index, file in enumerate(files):
        if file.file_id not in known:
            raise unknown_file(file.file_id, path.format(index))
        sizes = file.chunking_strategy.static if isinstance(file.chunking_strategy, StaticChunking) else None
        chosen[file.file_id] = NewStoreFile(
            file.file_id,
            file.attributes or {},
            limits.chunk_tokens if sizes is None else sizes.max_chunk_size_tokens,
            limits.chunk_overlap_tokens if sizes is None else sizes.chunk_overlap_tokens,
        )
    attached = await asyncio.to_thread(
        folder.store_files.attach, store, list(chosen.values()), most=limits.max_store_files, as_batch=as_batch
    )
    await start_ingestion(state.temporal, store.tenant, store.id, attached.ingestion_id, list(chosen))
    return attached


async def read_json(kind: type[Body], request: Request) -> Body:
    """The body, which may be empty. Raises as `read_body` does, and InvalidRequest."""
    raw = await read_body(request, state_of(request).settings.max_body_bytes)
    return await off_loop(len(raw), _parsed, kind, raw)


def _parsed(kind: type[Body], raw: bytes) -> Body:
    return model_of(kind, read_json_object(raw) if raw else {})


@dataclass(frozen=True, slots=True)
class PageAsked:
    """The parameters of a list."""

    limit: int
    after: str | None
    before: str | None
    newest_first: bool


def page_asked(request: Request, *more: str) -> PageAsked:
    """The parameters of a list; `more` are those that it has beside. Raises InvalidRequest."""
    query = request.query_params
    check_names(query, _PAGE_NAMES | set(more))
    return PageAsked(
        page_limit(query.get("limit")),
        query.get("after"),
        query.get("before"),
        is_newest_first(query.get("order")),
    )


def page_response(page: tuple[list[T], bool] | None, shown: Sequence[Mapping[str, object]]) -> Response:
    """One page. Raises NotFound for a cursor that is in no list of the caller's."""
    if page is None:
        raise unknown_cursor()
    return json_response(list_object([dict(one) for one in shown], has_more=page[1]))


def json_response(body: Mapping[str, object]) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")
