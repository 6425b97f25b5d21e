"""The operations of the OpenAPI document: parameters, bodies, and the answers by status."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from api.conversations.routes import CreateConversation, CreateItems, UpdateConversation
from api.openapi.schemas import ref
from api.responses.approvals import ApprovalBody
from open_responses.json_types import JsonObject
from open_responses.schema.compact import CompactRequest
from open_responses.schema.requests import CreateResponse


def paths() -> JsonObject:
    body, events = ref("Response"), {"text/event-stream": {"schema": ref("StreamEvent")}}
    response_id = _parameter("response_id", "path")
    conversation_id = _parameter("conversation_id", "path")
    page = [
        _parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}),
        _parameter("order", "query", {"enum": ["asc", "desc"], "default": "desc"}),
        _parameter("after", "query"),
    ]
    include = _parameter("include", "query", {"type": "array", "items": {"type": "string"}})
    return {
        "/v1/responses": {
            "post": _operation(
                "createResponse",
                "Create a response: JSON, or a stream of events with `stream`",
                {200: ("The response, or its events; the last data of a stream is `[DONE]`.", body, events)},
                parameters=[
                    _parameter("Idempotency-Key", "header", {"type": "string", "minLength": 1, "maxLength": 255}),
                    _parameter("X-Provider-Api-Key", "header"),
                ],
                request=CreateResponse,
                errors=(404, 409, 429, 500),
            ),
            "x-open-responses-websocket": {
                "description": "The same path takes a WebSocket: each `response.create` message (the body, without "
                "`stream`, `stream_options` and `background`) gets the events of a stream, one message each; an error "
                'is `{"type": "error", "status", "error"}`. docs/websocket.md.',
                "clientMessage": {
                    "allOf": [
                        ref("CreateResponse"),
                        {"properties": {"type": {"const": "response.create"}, "generate": {"type": "boolean"}}},
                    ]
                },
                "serverMessage": ref("StreamEvent"),
            },
        },
        "/v1/responses/{response_id}": {
            "get": _operation(
                "getResponse",
                "The response as it stands, or its events from the beginning or after one",
                {200: ("", body, events)},
                parameters=[
                    response_id,
                    _parameter("stream", "query", {"type": "boolean", "default": False}),
                    _parameter("starting_after", "query", {"type": "integer", "minimum": 0}),
                    _parameter("include_obfuscation", "query", {"type": "boolean", "default": True}),
                ],
                errors=(400, 404),
            ),
            "delete": _operation(
                "deleteResponse",
                "Forget a response; one that runs is stopped",
                {200: ("", ref("DeletedResponse"), {})},
                parameters=[response_id],
                errors=(404,),
            ),
        },
        "/v1/responses/{response_id}/cancel": {
            "post": _operation(
                "cancelResponse",
                "Stop a response; one that has ended is returned unchanged",
                {200: ("", body, {})},
                parameters=[response_id],
                errors=(404,),
            )
        },
        "/v1/responses/{response_id}/input_items": {
            "get": _operation(
                "listInputItems",
                "The input, as items",
                {200: ("", ref("ItemPage"), {})},
                parameters=[response_id, *page, _parameter("before", "query")],
                errors=(400, 404),
            )
        },
        "/v1/responses/{response_id}/approvals": {
            "post": _operation(
                "answerApproval",
                "A person's word on a call that waits for it (an extension)",
                {200: ("The response as it stands.", body, {})},
                parameters=[response_id],
                request=ApprovalBody,
                errors=(404, 409),
            )
        },
        "/v1/responses/compact": {
            "post": _operation(
                "compactResponse",
                "A conversation in fewer words",
                {200: ("", ref("Compacted"), {})},
                request=CompactRequest,
                errors=(404, 429, 500),
            )
        },
        "/v1/responses/input_tokens": {
            "post": _operation(
                "countInputTokens",
                "How long a request's context would be",
                {200: ("", ref("InputTokens"), {})},
                request="CountTokens",
                errors=(404,),
            )
        },
        "/v1/conversations": {
            "post": _operation(
                "createConversation",
                "A conversation, empty or with items",
                {200: ("", ref("Conversation"), {})},
                request=CreateConversation,
                may_be_empty=True,
            )
        },
        "/v1/conversations/{conversation_id}": {
            "get": _operation(
                "getConversation",
                "A conversation, without its items",
                {200: ("", ref("Conversation"), {})},
                parameters=[conversation_id],
                errors=(404,),
            ),
            "post": _operation(
                "updateConversation",
                "Other metadata, in place of all that was there",
                {200: ("", ref("Conversation"), {})},
                parameters=[conversation_id],
                request=UpdateConversation,
                errors=(404,),
            ),
            "delete": _operation(
                "deleteConversation",
                "Forget a conversation; its responses stay",
                {200: ("", ref("DeletedConversation"), {})},
                parameters=[conversation_id],
                errors=(404,),
            ),
        },
        "/v1/conversations/{conversation_id}/items": {
            "get": _operation(
                "listConversationItems",
                "The items",
                {200: ("", ref("ItemPage"), {})},
                parameters=[conversation_id, *page, include],
                errors=(400, 404),
            ),
            "post": _operation(
                "createConversationItems",
                "Items at the end",
                {200: ("", ref("ItemPage"), {})},
                parameters=[conversation_id, include],
                request=CreateItems,
                errors=(404, 409),
            ),
        },
        "/v1/conversations/{conversation_id}/items/{item_id}": {
            "get": _operation(
                "getConversationItem",
                "One item",
                {200: ("", ref("ListedItem"), {})},
                parameters=[conversation_id, _parameter("item_id", "path"), include],
                errors=(400, 404),
            ),
            "delete": _operation(
                "deleteConversationItem",
                "The conversation, without the item",
                {200: ("", ref("Conversation"), {})},
                parameters=[conversation_id, _parameter("item_id", "path")],
                errors=(404,),
            ),
        },
        "/v1/models": {
            "get": _operation("listModels", "What can be asked for", {200: ("", ref("ModelList"), {})}),
        },
        "/v1/models/{model}": {
            "get": _operation(
                "getModel",
                "A model, by its name",
                {200: ("", ref("Model"), {})},
                parameters=[_parameter("model", "path")],
                errors=(404,),
            )
        },
        "/healthz": _probe("health", "This process is alive", {200: ("", ref("Health"), {})}),
        "/readyz": _probe(
            "readiness",
            "All parts answer, and a worker polls",
            {200: ("", ref("Health"), {}), 503: ("What is missing.", ref("Health"), {})},
        ),
    }


def _operation(
    name: str,
    summary: str,
    answers: Mapping[int, tuple[str, JsonObject, JsonObject]],
    *,
    parameters: list[JsonObject] | None = None,
    request: type[BaseModel] | str | None = None,
    may_be_empty: bool = False,
    errors: tuple[int, ...] = (),
    is_open: bool = False,
) -> JsonObject:
    """`answers`: status -> (what it is, schema of the JSON, other media types)."""
    responses: JsonObject = {
        str(status): {
            "description": says or "OK",
            "headers": {"X-Request-Id": {"schema": {"type": "string"}}},
            "content": {"application/json": {"schema": schema}, **more},
        }
        for status, (says, schema, more) in answers.items()
    }
    # A key may be wrong or may not do this; a part may be away. That can happen to every request that has a caller.
    of_bodies = () if request is None else (400, 408, 413, 415)
    for status in sorted({*errors, *of_bodies, *(() if is_open else (401, 403, 503))}):
        responses[str(status)] = _error(status)
    operation: JsonObject = {"operationId": name, "summary": summary, "responses": responses}
    if parameters:
        operation["parameters"] = parameters
    if request is not None:
        name_of_body = request if isinstance(request, str) else request.__name__
        content = {"application/json": {"schema": ref(name_of_body)}}
        operation["requestBody"] = {"required": not may_be_empty, "content": content}
    if is_open:
        operation["security"] = []
    return operation


_STATUSES = {
    400: "The request is to be changed: `param` and `code` say how.",
    401: "No valid API key.",
    403: "A good key, which may not do this; or a server without keys, asked from elsewhere.",
    404: "Unknown, another's, or not stored.",
    409: "It contradicts what is there already.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    415: "The body is compressed.",
    429: "A limit of the key is reached.",
    500: "The server, or the provider behind it, failed.",
    503: "A part of the server is away, or has too much to do.",
}


def _error(status: int) -> JsonObject:
    answer: JsonObject = {
        "description": _STATUSES[status],
        "content": {"application/json": {"schema": ref("Error")}},
    }
    if status in (429, 503):
        answer["headers"] = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}}
    return answer


def _probe(name: str, summary: str, answers: Mapping[int, tuple[str, JsonObject, JsonObject]]) -> JsonObject:
    """Load balancers look by GET, or by HEAD."""
    return {
        method: _operation(name if method == "get" else f"{name}Head", summary, answers, is_open=True)
        for method in ("get", "head")
    }


def _parameter(name: str, where: str, schema: JsonObject | None = None) -> JsonObject:
    return {"name": name, "in": where, "required": where == "path", "schema": schema or {"type": "string"}}
