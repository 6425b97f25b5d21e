"""The paths of webhook endpoints and deliveries in the OpenAPI document."""

from __future__ import annotations

from api.openapi.operation import newest_first, operation, parameter
from api.openapi.schemas import ref
from api.webhooks.bodies import CreateWebhookEndpoint, RotateWebhookSecret, TestWebhookEndpoint, UpdateWebhookEndpoint
from open_responses.json_types import JsonObject


def webhook_paths() -> JsonObject:
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
