"""`/v1/containers` and `/v1/containers/{id}`: create, list, get and delete, with the forms of OpenAI's API."""

from __future__ import annotations

import asyncio
import time

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.body import model_of, read_body
from api.containers.access import (
    busy,
    containers_of,
    json_response,
    named_files,
    owned_container,
    resource,
    table_of,
    unknown_container,
    with_files,
)
from api.dependencies import State, Tenant
from api.paging import check_names, is_newest_first, list_object, page_limit, unknown_cursor
from open_responses.io.store.containers import ContainersBusy
from open_responses.schema.container_bodies import CreateContainer, DeletedContainer
from open_responses.schema.validation import read_json_object

router = APIRouter(prefix="/v1/containers")

_LISTED = frozenset({"after", "limit", "order", "name"})


@router.post("")
async def create_container(request: Request, state: State, tenant: Tenant) -> Response:
    """Make a container, empty or with files. It belongs to no response."""
    table, containers = table_of(state), containers_of(state)
    given = model_of(CreateContainer, read_json_object(await read_body(request, state.settings.max_body_bytes)))
    named = await named_files(state, tenant, given.file_ids or [], "file_ids[{}]")
    files = with_files([], named, table.max_files_mb * 2**20, int(time.time()))
    container_id = await asyncio.to_thread(
        containers.create,
        tenant,
        name=given.name,
        idle_minutes=None if given.expires_after is None else given.expires_after.minutes,
        files=files,
        most=table.max_containers,
    )
    container = await owned_container(state, tenant, container_id)
    return json_response(await asyncio.to_thread(resource, containers, container_id, container))


@router.get("")
async def list_containers(request: Request, state: State, tenant: Tenant) -> Response:
    """A page of the tenant's containers, newest first unless `order=asc`; those that responses began among them."""
    query = request.query_params
    check_names(query, _LISTED)
    containers = containers_of(state)
    page = await asyncio.to_thread(
        containers.page,
        tenant,
        limit=page_limit(query.get("limit")),
        after=query.get("after"),
        name=query.get("name"),
        newest_first=is_newest_first(query.get("order")),
    )
    if page is None:
        raise unknown_cursor()
    found, has_more = page
    shown = [await asyncio.to_thread(resource, containers, *one) for one in found]
    return json_response(list_object([dict(one) for one in shown], has_more=has_more))


@router.get("/{container_id}")
async def get_container(container_id: str, state: State, tenant: Tenant) -> Response:
    container = await owned_container(state, tenant, container_id)
    return json_response(await asyncio.to_thread(resource, containers_of(state), container_id, container))


@router.delete("/{container_id}")
async def delete_container(container_id: str, state: State, tenant: Tenant) -> Response:
    """Delete a container: its variables and its files."""
    await owned_container(state, tenant, container_id)
    try:
        is_deleted = await asyncio.to_thread(containers_of(state).delete, tenant, container_id)
    except ContainersBusy:
        raise busy(container_id) from None
    if not is_deleted:
        raise unknown_container(container_id)
    deleted: DeletedContainer = {"id": container_id, "object": "container.deleted", "deleted": True}
    return json_response(deleted)
