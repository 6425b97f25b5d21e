"""All paths of the OpenAPI document: those of each room, and of models, usage and the probes of this process."""

from __future__ import annotations

from api.openai_forms import PREFIX
from api.openapi.container_paths import container_paths
from api.openapi.conversation_paths import conversation_paths
from api.openapi.file_paths import file_paths
from api.openapi.operation import operation, parameter, probe
from api.openapi.operator_paths import key_paths, operation_paths
from api.openapi.response_paths import response_paths
from api.openapi.schedule_paths import schedule_paths
from api.openapi.schemas import ref
from api.openapi.webhook_paths import webhook_paths
from open_responses.json_types import JsonObject


def paths() -> JsonObject:
    found = {
        **response_paths(),
        **conversation_paths(),
        **file_paths(),
        **container_paths(),
        **webhook_paths(),
        **schedule_paths(),
        **key_paths(),
        **_service(),
        **operation_paths(),
    }
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
