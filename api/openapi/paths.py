"""The operations of the OpenAPI document: parameters, bodies, and the answers by status."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from api.admin.bodies import ChangeKeyBody, CreateKeyBody
from api.conversations.routes import CreateConversation, CreateItems, UpdateConversation
from api.openapi.schemas import ref
from api.operations.filters import STATUSES
from api.responses.approvals import ApprovalBody
from open_responses.json_types import JsonObject
from open_responses.schema.compact import CompactRequest
from open_responses.schema.requests import CreateResponse


def paths() -> JsonObject:
    return {**_responses(), **_conversations(), **_admin(), **_service(), **_operations()}


def _responses() -> JsonObject:
    body, events = ref("Response"), {"text/event-stream": {"schema": ref("StreamEvent")}}
    response_id = _parameter("response_id", "path")
    return {
        "/v1/responses": {
            "get": _operation(
                "listResponses",
                "List the responses that began last (an extension)",
                {200: ("", ref("ResponseSummaryPage"), {})},
                parameters=[
                    _parameter("status", "query", {"enum": list(STATUSES)}),
                    *(_parameter(name, "query") for name in ("model", "provider", "tenant", "conversation")),
                    _parameter("error_code", "query"),
                    _parameter("waiting", "query", {"type": "boolean", "default": False}),
                    *(_parameter(name, "query") for name in ("created_after", "created_before")),
                    *_newest_first(),
                ],
                errors=(400, 404),
            ),
            "post": _operation(
                "createResponse",
                "Create a response, as JSON, or as a stream of events with `stream`",
                {200: ("The response, or its events. The last data of a stream is `[DONE]`.", body, events)},
                parameters=[
                    _parameter("Idempotency-Key", "header", {"type": "string", "minLength": 1, "maxLength": 255}),
                    _parameter("X-Provider-Api-Key", "header"),
                ],
                request=CreateResponse,
                errors=(404, 409, 429, 500),
            ),
            "x-open-responses-websocket": {
                "description": "The same path accepts a WebSocket. A client sends `response.create` messages: the body "
                "without `stream`, `stream_options` and `background`. The server sends one message for each event. "
                'An error is `{"type": "error", "status", "error"}`. docs/websocket.md.',
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
                "Get a response, or its events from the beginning or after `starting_after`",
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
                "Delete a response. One that runs is cancelled",
                {200: ("", ref("DeletedResponse"), {})},
                parameters=[response_id],
                errors=(404,),
            ),
        },
        "/v1/responses/{response_id}/cancel": {
            "post": _operation(
                "cancelResponse",
                "Cancel a response. One that has ended is returned unchanged",
                {200: ("", body, {})},
                parameters=[response_id],
                errors=(404,),
            )
        },
        "/v1/responses/{response_id}/input_items": {
            "get": _operation(
                "listInputItems",
                "List the input as items",
                {200: ("", ref("ItemPage"), {})},
                parameters=[response_id, *_page(), _parameter("before", "query")],
                errors=(400, 404),
            )
        },
        "/v1/responses/{response_id}/approvals": {
            "post": _operation(
                "answerApproval",
                "Approve or deny a call that waits for approval (an extension)",
                {200: ("The response as it is now.", body, {})},
                parameters=[response_id],
                request=ApprovalBody,
                errors=(404, 409),
            )
        },
        "/v1/responses/{response_id}/timeline": {
            "get": _operation(
                "getTimeline",
                "Get the steps of a response: model turns, tools, approvals (an extension)",
                {200: ("", ref("ResponseTimeline"), {})},
                parameters=[response_id],
                errors=(404,),
            )
        },
        "/v1/responses/compact": {
            "post": _operation(
                "compactResponse",
                "Compact a conversation into a shorter input",
                {200: ("", ref("Compacted"), {})},
                request=CompactRequest,
                errors=(404, 429, 500),
            )
        },
        "/v1/responses/input_tokens": {
            "post": _operation(
                "countInputTokens",
                "Count the tokens of a request's context",
                {200: ("", ref("InputTokens"), {})},
                request="CountTokens",
                errors=(404,),
            )
        },
    }


def _conversations() -> JsonObject:
    conversation_id = _parameter("conversation_id", "path")
    include = _parameter("include", "query", {"type": "array", "items": {"type": "string"}})
    return {
        "/v1/conversations": {
            "post": _operation(
                "createConversation",
                "Create a conversation, empty or with items",
                {200: ("", ref("Conversation"), {})},
                request=CreateConversation,
                may_be_empty=True,
            )
        },
        "/v1/conversations/{conversation_id}": {
            "get": _operation(
                "getConversation",
                "Get a conversation, without its items",
                {200: ("", ref("Conversation"), {})},
                parameters=[conversation_id],
                errors=(404,),
            ),
            "post": _operation(
                "updateConversation",
                "Replace all metadata of a conversation",
                {200: ("", ref("Conversation"), {})},
                parameters=[conversation_id],
                request=UpdateConversation,
                errors=(404,),
            ),
            "delete": _operation(
                "deleteConversation",
                "Delete a conversation. Its responses are kept",
                {200: ("", ref("DeletedConversation"), {})},
                parameters=[conversation_id],
                errors=(404,),
            ),
        },
        "/v1/conversations/{conversation_id}/items": {
            "get": _operation(
                "listConversationItems",
                "List the items of a conversation",
                {200: ("", ref("ItemPage"), {})},
                parameters=[conversation_id, *_page(), include],
                errors=(400, 404),
            ),
            "post": _operation(
                "createConversationItems",
                "Add items at the end of a conversation",
                {200: ("", ref("ItemPage"), {})},
                parameters=[conversation_id, include],
                request=CreateItems,
                errors=(404, 409),
            ),
        },
        "/v1/conversations/{conversation_id}/items/{item_id}": {
            "get": _operation(
                "getConversationItem",
                "Get one item of a conversation",
                {200: ("", ref("ListedItem"), {})},
                parameters=[conversation_id, _parameter("item_id", "path"), include],
                errors=(400, 404),
            ),
            "delete": _operation(
                "deleteConversationItem",
                "Delete one item, and get the conversation",
                {200: ("", ref("Conversation"), {})},
                parameters=[conversation_id, _parameter("item_id", "path")],
                errors=(404,),
            ),
        },
    }


def _admin() -> JsonObject:
    """The endpoints of operators. Each needs a key with the scope `admin`."""
    key_id = _parameter("key_id", "path")
    page = [parameter for parameter in _page() if parameter["name"] != "order"]
    return {
        "/v1/admin/keys": {
            "get": _operation(
                "listApiKeys",
                "List the API keys, newest first",
                {200: ("", ref("ApiKeyPage"), {})},
                parameters=[*page, _parameter("tenant", "query")],
                errors=(400,),
            ),
            "post": _operation(
                "createApiKey",
                "Create an API key",
                {201: ("The key, which no other answer has.", ref("CreatedApiKey"), {})},
                request=CreateKeyBody,
                errors=(409,),
            ),
        },
        "/v1/admin/keys/audit": {
            "get": _operation(
                "listApiKeyChanges",
                "List the changes of API keys, newest first",
                {200: ("", ref("ApiKeyChangePage"), {})},
                parameters=page,
                errors=(400,),
            )
        },
        "/v1/admin/keys/{key_id}": {
            "get": _operation(
                "getApiKey",
                "Get an API key",
                {200: ("", ref("ApiKey"), {})},
                parameters=[key_id],
                errors=(404,),
            ),
            "post": _operation(
                "changeApiKey",
                "Change an API key: what is not given stays as it is",
                {200: ("", ref("ApiKey"), {})},
                parameters=[key_id],
                request=ChangeKeyBody,
                errors=(404, 409),
            ),
            "delete": _operation(
                "revokeApiKey",
                "Revoke an API key for good",
                {200: ("", ref("ApiKey"), {})},
                parameters=[key_id],
                errors=(404, 409),
            ),
        },
    }


def _service() -> JsonObject:
    """Models, and the probes of this process."""
    return {
        "/v1/models": {
            "get": _operation(
                "listModels", "List the models that a request can name", {200: ("", ref("ModelList"), {})}
            ),
        },
        "/v1/models/{model}": {
            "get": _operation(
                "getModel",
                "Get a model by its name",
                {200: ("", ref("Model"), {})},
                parameters=[_parameter("model", "path")],
                errors=(404,),
            )
        },
        "/v1/usage": {
            "get": _operation(
                "getUsage",
                "Responses, tokens and cost by tenant, model and day",
                {200: ("", ref("UsageReport"), {})},
                parameters=[
                    _parameter("from", "query"),
                    _parameter("to", "query"),
                    _parameter("group_by", "query", {"type": "string", "default": "day"}),
                    _parameter("tenant", "query"),
                ],
                errors=(400, 429),
            )
        },
        "/healthz": _probe("health", "Check that this process is alive", {200: ("", ref("Health"), {})}),
        "/readyz": _probe(
            "readiness",
            "Check that Temporal and Redis answer. Answers within a second",
            {
                200: ("`ready`, or `degraded` if workers are missing.", ref("Health"), {}),
                503: ("Not ready; `missing` has the reasons.", ref("Health"), {}),
            },
        ),
    }


def _operations() -> JsonObject:
    """For operators, and for tenants that look at their own."""
    return {
        "/v1/approvals": {
            "get": _operation(
                "listApprovals",
                "List the calls that wait for a person",
                {200: ("", ref("ApprovalPendingPage"), {})},
                parameters=[_parameter("tenant", "query"), *_newest_first()],
                errors=(400, 404),
            )
        },
        "/v1/admin/health": {
            "get": _operation(
                "getServerHealth",
                "Get what runs and what does not. Needs the scope admin",
                {200: ("", ref("ServerHealth"), {})},
            )
        },
    }


def _newest_first() -> list[JsonObject]:
    """The parameters of a list whose order is fixed."""
    return [one for one in _page() if one["name"] != "order"]


def _page() -> list[JsonObject]:
    """The parameters of a list that is read in pages."""
    return [
        _parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}),
        _parameter("order", "query", {"enum": ["asc", "desc"], "default": "desc"}),
        _parameter("after", "query"),
    ]


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
    """`answers`: status -> (description, schema of the JSON, other media types)."""
    responses: JsonObject = {
        str(status): {
            "description": description or "OK",
            "headers": {"X-Request-Id": {"schema": {"type": "string"}}},
            "content": {"application/json": {"schema": schema}, **more},
        }
        for status, (description, schema, more) in answers.items()
    }
    # 401, 403 and 503 are possible wherever a key is needed: a wrong key, one without the scope, a dependency away.
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
    400: "The request is invalid: `param` is the member, `code` the reason.",
    401: "No valid API key.",
    403: "The key lacks the permission, or a server without keys got a request from another machine.",
    404: "The id is unknown, of another tenant, or not stored.",
    409: "The request conflicts with the current state.",
    408: "The body arrived too slowly.",
    413: "The body is too large.",
    415: "The body has a content encoding, which is not supported.",
    429: "A limit of the key is exceeded.",
    500: "The server or the provider failed.",
    503: "A dependency cannot be reached, or the server is overloaded.",
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
    """GET and HEAD: load balancers use either."""
    return {
        method: _operation(name if method == "get" else f"{name}Head", summary, answers, is_open=True)
        for method in ("get", "head")
    }


def _parameter(name: str, where: str, schema: JsonObject | None = None) -> JsonObject:
    return {"name": name, "in": where, "required": where == "path", "schema": schema or {"type": "string"}}
