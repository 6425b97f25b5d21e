"""The paths of responses in the OpenAPI document."""

from __future__ import annotations

from api.openapi.operation import INCLUDE, newest_first, operation, page, parameter
from api.openapi.schemas import ref
from api.operations.filters import STATUSES
from api.responses.approvals import ApprovalBody
from open_responses.json_types import JsonObject
from open_responses.schema.compact import CompactRequest
from open_responses.schema.requests import CreateResponse
from open_responses.schema.steering import SteerBody


def response_paths() -> JsonObject:
    body, events = ref("Response"), {"text/event-stream": {"schema": ref("StreamEvent")}}
    response_id = parameter("response_id", "path")
    return {
        "/v1/responses": {
            "get": operation(
                "listResponses",
                "List the responses that began last (an extension)",
                {200: ("", ref("ResponseSummaryPage"), {})},
                parameters=[
                    parameter("status", "query", {"enum": list(STATUSES)}),
                    *(parameter(name, "query") for name in ("model", "provider", "tenant", "conversation")),
                    parameter("error_code", "query"),
                    parameter("waiting", "query", {"type": "boolean", "default": False}),
                    *(parameter(name, "query") for name in ("created_after", "created_before")),
                    *newest_first(),
                ],
                errors=(400, 404),
            ),
            "post": operation(
                "createResponse",
                "Create a response, as JSON, or as a stream of events with `stream`",
                {200: ("The response, or its events. The last data of a stream is `[DONE]`.", body, events)},
                parameters=[
                    parameter("Idempotency-Key", "header", {"type": "string", "minLength": 1, "maxLength": 255}),
                    parameter("X-Provider-Api-Key", "header"),
                ],
                request=CreateResponse,
                errors=(404, 409, 429, 500),
            ),
            "x-open-responses-websocket": {
                "description": "The same path accepts a WebSocket. A client sends `response.create` messages: the body "
                "without `stream`, `stream_options` and `background`. The server sends one message for each event. "
                "`response.steer`, with `previous_response_id` and `input`, adds a message to the response that runs. "
                'An error is `{"type": "error", "status", "error"}`. docs/websocket.md.',
                "clientMessage": {
                    "allOf": [
                        ref("CreateResponse"),
                        {"properties": {"type": {"const": "response.create"}, "generate": {"type": "boolean"}}},
                    ]
                },
                "serverMessage": ref("StreamEvent"),
            },
            "x-open-responses-openai-events": ref("OpenAIStreamEvent"),
        },
        "/v1/responses/{response_id}": {
            "get": operation(
                "getResponse",
                "Get a response, or its events from the beginning or after `starting_after`",
                {200: ("", body, events)},
                parameters=[
                    response_id,
                    parameter("stream", "query", {"type": "boolean", "default": False}),
                    parameter("starting_after", "query", {"type": "integer", "minimum": 0}),
                    parameter("include_obfuscation", "query", {"type": "boolean", "default": True}),
                    INCLUDE,
                ],
                errors=(400, 404),
            ),
            "delete": operation(
                "deleteResponse",
                "Delete a response, and those of its agents. One that runs is cancelled",
                {200: ("", ref("DeletedResponse"), {})},
                parameters=[response_id],
                errors=(404, 409),
            ),
        },
        "/v1/responses/{response_id}/cancel": {
            "post": operation(
                "cancelResponse",
                "Cancel a response. One that has ended is returned unchanged",
                {200: ("", body, {})},
                parameters=[response_id],
                errors=(404,),
            )
        },
        "/v1/responses/{response_id}/input_items": {
            "get": operation(
                "listInputItems",
                "List the input as items",
                {200: ("", ref("ItemPage"), {})},
                parameters=[response_id, *page(), parameter("before", "query"), INCLUDE],
                errors=(400, 404),
            )
        },
        "/v1/responses/{response_id}/approvals": {
            "post": operation(
                "answerApproval",
                "Approve or deny a call that waits for approval (an extension)",
                {200: ("The response as it is now.", body, {})},
                parameters=[response_id],
                request=ApprovalBody,
                errors=(404, 409),
            )
        },
        "/v1/responses/{response_id}/steer": {
            "post": operation(
                "steerResponse",
                "Add messages of the user to a running response, for its next model turn (an extension)",
                {200: ("The messages are recorded, and a model turn will read them.", ref("ResponseSteer"), {})},
                parameters=[
                    response_id,
                    parameter("Idempotency-Key", "header", {"type": "string", "minLength": 1, "maxLength": 255}),
                ],
                request=SteerBody,
                errors=(404, 409, 429),
            )
        },
        "/v1/responses/{response_id}/timeline": {
            "get": operation(
                "getTimeline",
                "Get the steps of a response: model turns, tools, approvals (an extension)",
                {200: ("", ref("ResponseTimeline"), {})},
                parameters=[response_id],
                errors=(404,),
            )
        },
        "/v1/responses/compact": {
            "post": operation(
                "compactResponse",
                "Compact a conversation into a shorter input",
                {200: ("", ref("Compacted"), {})},
                request=CompactRequest,
                errors=(404, 429, 500),
            )
        },
        "/v1/responses/input_tokens": {
            "post": operation(
                "countInputTokens",
                "Count the tokens of a request's context",
                {200: ("", ref("InputTokens"), {})},
                request="CountTokens",
                errors=(404,),
            )
        },
    }
