"""`/v1/conversations` and the paths below it, with the forms of OpenAI's API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Annotated, TypeVar

import orjson
from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response
from temporalio.common import SearchAttributePair, TypedSearchAttributes

from api.app_state import AppState, state_of
from api.body import model_of, read_body
from api.compactions import check_compactions
from api.conversations.access import Busy, OwnedConversation, owned_conversation
from api.conversations.lock import free_stale_lock
from api.dependencies import State, Tenant
from api.include import included
from api.lookup import OwnedRecords
from api.paging import is_newest_first, list_object, page_limit
from api.references import References
from open_responses.context.call_pairing import check_added_calls
from open_responses.conversations.payloads import AddItems, ConversationState, PageQuery, SetMetadata
from open_responses.conversations.state import Conversation, new_entry_item
from open_responses.errors import InvalidRequest, NotFound
from open_responses.ids import new_id
from open_responses.io.files.inlined import check_named
from open_responses.io.temporal import client
from open_responses.json_types import JsonObject
from open_responses.loop.input_items import prefix_of
from open_responses.loop.markdown import plain
from open_responses.loop.payloads.names import TASK_QUEUE
from open_responses.schema.built_in_items import without_call
from open_responses.schema.http_bodies import DeletedConversation
from open_responses.schema.items import InputItem
from open_responses.schema.off_loop import off_loop
from open_responses.schema.request_settings import Metadata
from open_responses.schema.validation import RequestObject, read_json_object
from workflows.conversation import ConversationWorkflow

Body = TypeVar("Body", bound=RequestObject)

router = APIRouter(prefix="/v1/conversations")

MAX_ITEMS_AT_ONCE = 20
# An idle run continues as new well before the sweep deletes its large payloads.
_RENEWALS_PER_TTL = 3


class CreateConversation(RequestObject):
    items: Annotated[list[InputItem], Field(max_length=MAX_ITEMS_AT_ONCE, fail_fast=True)] | None = None
    metadata: Metadata | None = None


class UpdateConversation(RequestObject):
    metadata: Metadata | None


class CreateItems(RequestObject):
    items: Annotated[list[InputItem], Field(min_length=1, max_length=MAX_ITEMS_AT_ONCE, fail_fast=True)]


@router.post("")
async def create_conversation(request: Request, state: State, tenant: Tenant) -> Response:
    """Create a conversation, empty or with up to 20 items."""
    given, size = await _read(CreateConversation, request)
    items = await _new_items(state, tenant, given.items or [], size)
    opened = ConversationState(
        conversation_id=new_id("conv_"),
        tenant=tenant,
        created_at=int(time.time()),
        metadata=given.metadata or {},
        renew_seconds=state.settings.blob_ttl_seconds / _RENEWALS_PER_TTL,
    )
    check_added_calls((), items)
    conversation = Conversation(opened)
    conversation.add(items)
    await state.temporal.start_workflow(
        ConversationWorkflow.run,
        conversation.state,
        id=opened.conversation_id,
        task_queue=TASK_QUEUE,
        search_attributes=TypedSearchAttributes([SearchAttributePair(client.TENANT, tenant)]),
        static_summary=f"conversation · {plain(tenant)}",
        task_timeout=client.WORKFLOW_TASK_TIMEOUT,
    )
    return _json(opened.resource())


@router.get("/{conversation_id}")
async def get_conversation(conversation_id: str, state: State, tenant: Tenant) -> Response:
    found = await owned_conversation(state, tenant, conversation_id)
    return _json((await found.summary()).resource())


@router.post("/{conversation_id}")
async def update_conversation(request: Request, conversation_id: str, state: State, tenant: Tenant) -> Response:
    """Replace all metadata."""
    given, _ = await _read(UpdateConversation, request)
    found = await owned_conversation(state, tenant, conversation_id)
    await found.change("set_metadata", SetMetadata(metadata=given.metadata or {}))
    return _json((await found.summary()).resource())


@router.delete("/{conversation_id}")
async def delete_conversation(conversation_id: str, state: State, tenant: Tenant) -> Response:
    """Delete a conversation and its items. Its responses are kept, and one that runs continues."""
    found = await owned_conversation(state, tenant, conversation_id)
    await asyncio.to_thread(state.eraser.marks.promise, conversation_id)
    await found.change("delete")
    await state.eraser.delete_conversation(conversation_id)
    deleted: DeletedConversation = {"id": conversation_id, "object": "conversation.deleted", "deleted": True}
    return _json(deleted)


@router.get("/{conversation_id}/items")
async def list_items(request: Request, conversation_id: str, state: State, tenant: Tenant) -> Response:
    """A page of the items, newest first unless `order=asc`."""
    include, query = included(request), _page_query(request)
    found = await owned_conversation(state, tenant, conversation_id)
    page = await found.page(query)
    if not page.is_known:
        raise NotFound(
            "'after' must be the id of an item of this conversation. Take the last_id of the page before.",
            param="after",
        )
    return _json(list_object([without_call(item, include) for item in page.items], has_more=page.has_more))


@router.post("/{conversation_id}/items")
async def create_items(request: Request, conversation_id: str, state: State, tenant: Tenant) -> Response:
    """Add up to 20 items at the end. While a response holds the conversation's lock, this is a 409."""
    include = included(request)
    given, size = await _read(CreateItems, request)
    found = await owned_conversation(state, tenant, conversation_id)
    items = await _new_items(state, tenant, given.items, size)
    await _add(state, found, AddItems(items=items))
    return _json(list_object([without_call(item, include) for item in items]))


@router.get("/{conversation_id}/items/{item_id}")
async def get_item(request: Request, conversation_id: str, item_id: str, state: State, tenant: Tenant) -> Response:
    include = included(request)
    found = await owned_conversation(state, tenant, conversation_id)
    return _json(without_call(await found.item(item_id), include))


@router.delete("/{conversation_id}/items/{item_id}")
async def delete_item(conversation_id: str, item_id: str, state: State, tenant: Tenant) -> Response:
    """Delete one item, and return the conversation. A response that runs has read the item already."""
    found = await owned_conversation(state, tenant, conversation_id)
    await found.change("delete_item", item_id)
    return _json((await found.summary()).resource())


async def _add(state: AppState, conversation: OwnedConversation, call: AddItems) -> None:
    try:
        await conversation.change("add_items", call)
    except Busy:
        holder = (await conversation.summary()).lock
        if holder is not None:
            await free_stale_lock(state, conversation, holder)
        await conversation.change("add_items", call)


async def _new_items(state: AppState, tenant: str, given: list[InputItem], size: int) -> list[JsonObject]:
    """The items as they are stored: references resolved, each with an id. `size` is the request's, in bytes."""
    references = References(OwnedRecords(state, tenant), size=size, limit=state.settings.max_body_bytes)
    items = await references.resolved_items(given, path="items")
    check_compactions(items, state.sealer, tenant, path="items")
    await check_named(state.folder.files, tenant, items, "items")
    dumped = [item.model_dump(mode="json", exclude_unset=True) for item in items]
    kept = [new_entry_item(item, new_id(prefix_of(item.get("type") or "message"))) for item in dumped]
    ids = [item["id"] for item in kept]
    for index, item_id in enumerate(ids):
        if item_id in ids[:index]:
            param = f"items[{index}].id"
            raise InvalidRequest(
                f"{param!r} is also the id of another item in your request. Give each item its own id.",
                param=param,
                code="invalid_value",
            )
    return kept


def _object(raw: bytes) -> JsonObject:
    return read_json_object(raw) if raw else {}


async def _read(kind: type[Body], request: Request) -> tuple[Body, int]:
    """The body, and its size in bytes."""
    raw = await read_body(request, state_of(request).settings.max_body_bytes)
    return await off_loop(len(raw), _parsed, kind, raw), len(raw)


def _parsed(kind: type[Body], raw: bytes) -> Body:
    return model_of(kind, _object(raw))


def _page_query(request: Request) -> PageQuery:
    query = request.query_params
    newest_first = is_newest_first(query.get("order"))
    return PageQuery(limit=page_limit(query.get("limit")), after=query.get("after"), newest_first=newest_first)


def _json(body: Mapping[str, object]) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")
