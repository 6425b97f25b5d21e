"""The paths of the OpenAPI document, each with its operations."""

from __future__ import annotations

from api.admin.bodies import ChangeKeyBody, CreateKeyBody
from api.conversations.routes import CreateConversation, CreateItems, UpdateConversation
from api.openai_forms import PREFIX
from api.openapi.file_paths import file_paths
from api.openapi.operation import newest_first, operation, page, parameter, probe
from api.openapi.schedule_paths import schedule_paths
from api.openapi.schemas import ref
from api.operations.filters import STATUSES
from api.responses.approvals import ApprovalBody
from api.webhooks.bodies import CreateWebhookEndpoint, RotateWebhookSecret, TestWebhookEndpoint, UpdateWebhookEndpoint
from open_responses.json_types import JsonObject
from open_responses.schema.compact import CompactRequest
from open_responses.schema.requests import CreateResponse
from open_responses.schema.steering import SteerBody


def paths() -> JsonObject:
    agents = {**_webhooks(), **schedule_paths()}
    found = {**_responses(), **_conversations(), **file_paths(), **agents, **_admin(), **_service(), **_operations()}
    for path, operations in found.items():
        if path.startswith("/v1/"):
            operations["servers"] = _SERVERS
    return found


_SERVERS = [
    {"url": "/", "description": "The specification's forms"},
    {
        "url": PREFIX,
        "description": "OpenAI's forms: a stream has the events of OpenAIStreamEvent in place of the specification's, "
        "and no `[DONE]` (docs/clients.md)",
    },
]


def _responses() -> JsonObject:
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
                parameters=[response_id, *page(), parameter("before", "query")],
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


def _conversations() -> JsonObject:
    conversation_id = parameter("conversation_id", "path")
    include = parameter("include", "query", {"type": "array", "items": {"type": "string"}})
    return {
        "/v1/conversations": {
            "post": operation(
                "createConversation",
                "Create a conversation, empty or with items",
                {200: ("", ref("Conversation"), {})},
                request=CreateConversation,
                may_be_empty=True,
            )
        },
        "/v1/conversations/{conversation_id}": {
            "get": operation(
                "getConversation",
                "Get a conversation, without its items",
                {200: ("", ref("Conversation"), {})},
                parameters=[conversation_id],
                errors=(404,),
            ),
            "post": operation(
                "updateConversation",
                "Replace all metadata of a conversation",
                {200: ("", ref("Conversation"), {})},
                parameters=[conversation_id],
                request=UpdateConversation,
                errors=(404,),
            ),
            "delete": operation(
                "deleteConversation",
                "Delete a conversation. Its responses are kept",
                {200: ("", ref("DeletedConversation"), {})},
                parameters=[conversation_id],
                errors=(404,),
            ),
        },
        "/v1/conversations/{conversation_id}/items": {
            "get": operation(
                "listConversationItems",
                "List the items of a conversation",
                {200: ("", ref("ItemPage"), {})},
                parameters=[conversation_id, *page(), include],
                errors=(400, 404),
            ),
            "post": operation(
                "createConversationItems",
                "Add items at the end of a conversation",
                {200: ("", ref("ItemPage"), {})},
                parameters=[conversation_id, include],
                request=CreateItems,
                errors=(404, 409),
            ),
        },
        "/v1/conversations/{conversation_id}/items/{item_id}": {
            "get": operation(
                "getConversationItem",
                "Get one item of a conversation",
                {200: ("", ref("ListedItem"), {})},
                parameters=[conversation_id, parameter("item_id", "path"), include],
                errors=(400, 404),
            ),
            "delete": operation(
                "deleteConversationItem",
                "Delete one item, and get the conversation",
                {200: ("", ref("Conversation"), {})},
                parameters=[conversation_id, parameter("item_id", "path")],
                errors=(404,),
            ),
        },
    }


def _webhooks() -> JsonObject:
    """The endpoints of the caller's key in OpenAI's shape, and the log of what was sent."""
    endpoint_id, delivery_id = parameter("webhook_endpoint_id", "path"), parameter("delivery_id", "path")
    endpoint, with_secret = ref("WebhookEndpoint"), ref("WebhookEndpointWithSecret")
    return {
        "/v1/webhook_event_types": {
            "get": operation(
                "listWebhookEventTypes", "List the types of events", {200: ("", ref("WebhookEventTypeList"), {})}
            )
        },
        "/v1/webhook_endpoints": {
            "get": operation(
                "listWebhookEndpoints",
                "List the webhook endpoints of your key, newest first",
                {200: ("", ref("WebhookEndpointPage"), {})},
                parameters=newest_first(),
                errors=(400, 404),
            ),
            "post": operation(
                "createWebhookEndpoint",
                "Create a webhook endpoint",
                {200: ("The endpoint, with its secret.", with_secret, {})},
                request=CreateWebhookEndpoint,
                errors=(409,),
            ),
        },
        "/v1/webhook_endpoints/{webhook_endpoint_id}": {
            "get": operation(
                "getWebhookEndpoint",
                "Get a webhook endpoint, without its secret",
                {200: ("", endpoint, {})},
                parameters=[endpoint_id],
                errors=(404,),
            ),
            "post": operation(
                "updateWebhookEndpoint",
                "Change a webhook endpoint: what is not given stays as it is",
                {200: ("", endpoint, {})},
                parameters=[endpoint_id],
                request=UpdateWebhookEndpoint,
                errors=(404, 409),
            ),
            "delete": operation(
                "deleteWebhookEndpoint",
                "Delete a webhook endpoint",
                {200: ("", ref("DeletedWebhookEndpoint"), {})},
                parameters=[endpoint_id],
                errors=(404, 409),
            ),
        },
        "/v1/webhook_endpoints/{webhook_endpoint_id}/rotate_secret": {
            "post": operation(
                "rotateWebhookSecret",
                "Replace the secret of a webhook endpoint",
                {200: ("The endpoint, with its new secret.", with_secret, {})},
                parameters=[endpoint_id],
                request=RotateWebhookSecret,
                may_be_empty=True,
                errors=(404, 409),
            )
        },
        "/v1/webhook_endpoints/{webhook_endpoint_id}/test": {
            "post": operation(
                "testWebhookEndpoint",
                "Send a test event, and get the status that the endpoint answers",
                {200: ("", ref("WebhookEndpointTest"), {})},
                parameters=[endpoint_id],
                request=TestWebhookEndpoint,
                errors=(404,),
            )
        },
        "/v1/webhook_deliveries": {
            "get": operation(
                "listWebhookDeliveries",
                "List the deliveries of events, newest first (an extension)",
                {200: ("", ref("WebhookDeliveryPage"), {})},
                parameters=[
                    parameter("status", "query", {"enum": ["pending", "delivered", "failed"]}),
                    parameter("response_id", "query"),
                    parameter("tenant", "query"),
                    *newest_first(),
                ],
                errors=(400, 404),
            )
        },
        "/v1/webhook_deliveries/{delivery_id}": {
            "get": operation(
                "getWebhookDelivery",
                "Get a delivery, with its attempts (an extension)",
                {200: ("", ref("WebhookDelivery"), {})},
                parameters=[delivery_id],
                errors=(404,),
            )
        },
        "/v1/webhook_deliveries/{delivery_id}/replay": {
            "post": operation(
                "replayWebhookDelivery",
                "Send the event of a delivery again, with the same id (an extension)",
                {202: ("The delivery, before its next attempt.", ref("WebhookDelivery"), {})},
                parameters=[delivery_id],
                errors=(404,),
            )
        },
    }


def _admin() -> JsonObject:
    """The endpoints of operators. Each needs a key with the scope `admin`."""
    key_id = parameter("key_id", "path")
    return {
        "/v1/admin/keys": {
            "get": operation(
                "listApiKeys",
                "List the API keys, newest first",
                {200: ("", ref("ApiKeyPage"), {})},
                parameters=[*newest_first(), parameter("tenant", "query")],
                errors=(400,),
            ),
            "post": operation(
                "createApiKey",
                "Create an API key",
                {201: ("The key, which no other answer has.", ref("CreatedApiKey"), {})},
                request=CreateKeyBody,
                errors=(409,),
            ),
        },
        "/v1/admin/keys/audit": {
            "get": operation(
                "listApiKeyChanges",
                "List the changes of API keys, newest first",
                {200: ("", ref("ApiKeyChangePage"), {})},
                parameters=newest_first(),
                errors=(400,),
            )
        },
        "/v1/admin/keys/{key_id}": {
            "get": operation(
                "getApiKey",
                "Get an API key",
                {200: ("", ref("ApiKey"), {})},
                parameters=[key_id],
                errors=(404,),
            ),
            "post": operation(
                "changeApiKey",
                "Change an API key: what is not given stays as it is",
                {200: ("", ref("ApiKey"), {})},
                parameters=[key_id],
                request=ChangeKeyBody,
                errors=(404, 409),
            ),
            "delete": operation(
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
            "get": operation(
                "listModels", "List the models that a request can name", {200: ("", ref("ModelList"), {})}
            ),
        },
        "/v1/models/{model}": {
            "get": operation(
                "getModel",
                "Get a model by its name",
                {200: ("", ref("Model"), {})},
                parameters=[parameter("model", "path")],
                errors=(404,),
            )
        },
        "/v1/usage": {
            "get": operation(
                "getUsage",
                "Responses, tokens and cost by tenant, model and day",
                {200: ("", ref("UsageReport"), {})},
                parameters=[
                    parameter("from", "query"),
                    parameter("to", "query"),
                    parameter("group_by", "query", {"type": "string", "default": "day"}),
                    parameter("tenant", "query"),
                ],
                errors=(400, 429),
            )
        },
        "/healthz": probe("health", "Check that this process is alive", {200: ("", ref("Health"), {})}),
        "/readyz": probe(
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
            "get": operation(
                "listApprovals",
                "List the calls that wait for a person",
                {200: ("", ref("ApprovalPendingPage"), {})},
                parameters=[parameter("tenant", "query"), *newest_first()],
                errors=(400, 404),
            )
        },
        "/v1/admin/health": {
            "get": operation(
                "getServerHealth",
                "Get what runs and what does not. Needs the scope admin",
                {200: ("", ref("ServerHealth"), {})},
            )
        },
        "/v1/admin/refusals": {
            "get": operation(
                "listRefusals",
                "Count refused requests by tenant, code and endpoint. Needs the scope admin",
                {200: ("", ref("RefusalList"), {})},
                parameters=[
                    parameter("hours", "query", {"type": "integer", "minimum": 1, "maximum": 48, "default": 24}),
                    parameter("tenant", "query"),
                    parameter("code", "query"),
                ],
                errors=(400,),
            )
        },
    }
