"""The paths of API keys, waiting approvals, refusals and the state of the server in the OpenAPI document."""

from __future__ import annotations

from api.admin.bodies import ChangeKeyBody, CreateKeyBody
from api.openapi.operation import newest_first, operation, parameter
from api.openapi.schemas import ref
from open_responses.json_types import JsonObject


def key_paths() -> JsonObject:
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


def operation_paths() -> JsonObject:
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
