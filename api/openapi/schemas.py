"""The `components/schemas` of the OpenAPI document, generated from the models of requests, answers and events.

Request bodies are read by the same models. Answers and events are plain dicts, which are not validated against their
models at run time; `tests/api/test_openapi.py` compares the models with the specification, and with the answers and
events of a run.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

from api.admin.bodies import ChangeKeyBody, CreateKeyBody
from api.conversations.routes import CreateConversation, CreateItems, UpdateConversation
from api.responses.approvals import ApprovalBody
from api.schedules.bodies import CreateSchedule, UpdateSchedule
from api.webhooks.bodies import CreateWebhookEndpoint, RotateWebhookSecret, TestWebhookEndpoint, UpdateWebhookEndpoint
from open_responses.json_types import JsonObject
from open_responses.schema import (
    container_bodies,
    file_bodies,
    http_bodies,
    operation_bodies,
    schedule_bodies,
    vector_store_bodies,
    webhook_bodies,
)
from open_responses.schema.compact import CompactRequest
from open_responses.schema.items import OPAQUE_TYPES, PROVIDER_ITEM_TYPES, OpaqueItem
from open_responses.schema.names import SLUG
from open_responses.schema.openai_events import OpenAIStreamEvent
from open_responses.schema.request_settings import MAX_METADATA_KEY, MAX_METADATA_PAIRS
from open_responses.schema.requests import CreateResponse
from open_responses.schema.steering import SteerBody
from open_responses.schema.stream_events import StreamEvent
from open_responses.schema.tools import PROVIDER_TOOL_TYPES, ProviderTool
from open_responses.schema.validation import RequestObject
from open_responses.schema.vector_store_requests import (
    AttachFile,
    CreateFileBatch,
    CreateVectorStore,
    ModifyAttributes,
    ModifyVectorStore,
    SearchVectorStore,
)

REQUESTS: tuple[type[BaseModel], ...] = (
    CreateResponse,
    CompactRequest,
    ApprovalBody,
    SteerBody,
    CreateConversation,
    UpdateConversation,
    CreateItems,
    container_bodies.CreateContainer,
    container_bodies.AddContainerFile,
    CreateVectorStore,
    ModifyVectorStore,
    AttachFile,
    ModifyAttributes,
    CreateFileBatch,
    SearchVectorStore,
    CreateKeyBody,
    ChangeKeyBody,
    CreateWebhookEndpoint,
    UpdateWebhookEndpoint,
    RotateWebhookSecret,
    TestWebhookEndpoint,
    CreateSchedule,
    UpdateSchedule,
)
# What these refer to (items, parts, usage) is generated with them.
ANSWERS: tuple[Any, ...] = (
    http_bodies.Response,
    http_bodies.DeletedResponse,
    http_bodies.ResponseSteer,
    http_bodies.Compacted,
    http_bodies.InputTokens,
    http_bodies.ItemPage,
    http_bodies.Conversation,
    http_bodies.DeletedConversation,
    container_bodies.Container,
    container_bodies.ContainerPage,
    container_bodies.DeletedContainer,
    container_bodies.ContainerFileObject,
    container_bodies.ContainerFilePage,
    container_bodies.DeletedContainerFile,
    file_bodies.FileObject,
    file_bodies.FilePage,
    file_bodies.DeletedFile,
    vector_store_bodies.VectorStore,
    vector_store_bodies.VectorStorePage,
    vector_store_bodies.DeletedVectorStore,
    vector_store_bodies.VectorStoreFile,
    vector_store_bodies.VectorStoreFilePage,
    vector_store_bodies.DeletedVectorStoreFile,
    vector_store_bodies.VectorStoreFileBatch,
    vector_store_bodies.FileContentPage,
    vector_store_bodies.SearchResultsPage,
    http_bodies.ModelList,
    http_bodies.UsageReport,
    http_bodies.Health,
    http_bodies.ApiKey,
    http_bodies.CreatedApiKey,
    http_bodies.ApiKeyPage,
    http_bodies.ApiKeyChangePage,
    http_bodies.Error,
    operation_bodies.ResponseSummaryPage,
    operation_bodies.ResponseTimeline,
    operation_bodies.ApprovalPendingPage,
    operation_bodies.ServerHealth,
    operation_bodies.RefusalList,
    webhook_bodies.WebhookEndpointWithSecret,
    webhook_bodies.WebhookEndpointPage,
    webhook_bodies.DeletedWebhookEndpoint,
    webhook_bodies.WebhookEndpointTest,
    webhook_bodies.WebhookEventTypeList,
    webhook_bodies.WebhookDeliveryPage,
    schedule_bodies.SchedulePage,
    schedule_bodies.ScheduleRunPage,
    schedule_bodies.DeletedSchedule,
    StreamEvent,
    OpenAIStreamEvent,
)


def ref(name: str) -> JsonObject:
    """A reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def component_schemas() -> JsonObject:
    """Name -> JSON Schema, of all that `paths` refers to."""
    inputs: list[tuple[str, JsonSchemaMode, TypeAdapter[Any]]] = [
        *((model.__name__, "validation", TypeAdapter(model)) for model in REQUESTS),
        *((model.__name__, "serialization", TypeAdapter(model)) for model in ANSWERS),
    ]
    roots, generated = TypeAdapter.json_schemas(
        inputs, ref_template="#/components/schemas/{model}", schema_generator=_Generator
    )
    schemas: JsonObject = generated["$defs"]
    for (name, _), root in roots.items():
        # A root that nothing else refers to may come inline.
        schemas.setdefault(name, root)
    _complete_requests(schemas)
    return schemas


class _Generator(GenerateJsonSchema):
    """pydantic's generator, with schemas that a reader finds shorter and a validator accepts in every case."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        # `"title": "Output Index"` beside `output_index` says nothing.
        return False

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        # An item of an unknown kind fits several branches, which `oneOf` would refuse.
        union = super().tagged_union_schema(schema)
        if "oneOf" in union:
            union["anyOf"] = union.pop("oneOf")
        return union

    def typed_dict_schema(self, schema: core_schema.TypedDictSchema) -> JsonSchemaValue:
        # `type` first, for the reader: members of base classes come before it otherwise.
        generated = super().typed_dict_schema(schema)
        if "type" in generated["properties"]:
            members = generated["properties"]
            generated["properties"] = {"type": members["type"], **members}
        return generated


# --- what the request models check in code, and pydantic's generator does not see


def _complete_requests(schemas: JsonObject) -> None:
    models = {model.__name__: model for model in _request_objects()}
    for name, schema in schemas.items():
        if name in models:
            _close(schema, models[name])
    create = schemas["CreateResponse"]["properties"]
    # The API takes it out of the body before the model reads the rest.
    create["api_key"] = {"type": "string", "description": "The provider's key, for this request alone."}
    schemas["CompactRequest"]["properties"]["api_key"] = create["api_key"]
    create["stop"] = {"anyOf": [{"type": "string", "minLength": 1, "maxLength": 256}, *create["stop"]["anyOf"]]}
    create["model"] = {**create["model"], "minLength": 1}
    create["input"] = {
        **create["input"],
        "description": "Required unless previous_response_id or conversation is given.",
    }
    schemas["CreateResponse"]["required"] = ["model"]
    schemas["CountTokens"] = {**schemas["CreateResponse"], "title": "CountTokens", "required": []}
    for name in (*models, "CountTokens"):
        if name in schemas:
            _bound_metadata(schemas[name])
    schemas["OpaqueItem"]["properties"]["type"] = _item_types()
    schemas["ProviderTool"]["properties"]["type"] = _tool_types()


def _request_objects() -> list[type[RequestObject]]:
    found: list[type[RequestObject]] = [RequestObject]
    for model in found:
        found += model.__subclasses__()
    return found


def _close(schema: JsonObject, model: type[RequestObject]) -> None:
    """Refuse unknown names; list those that are accepted and ignored, and those that must be null."""
    schema["additionalProperties"] = False
    properties = schema.setdefault("properties", {})
    for name, reason in model.IGNORED.items():
        properties[name] = {"description": f"Accepted and ignored: {reason}.", "deprecated": True}
    for name, reason in model.UNSUPPORTED.items():
        properties[name] = {"type": "null", "description": f"Not supported here: {reason}."}


def _bound_metadata(schema: JsonObject) -> None:
    metadata = schema.get("properties", {}).get("metadata")
    for branch in (metadata or {}).get("anyOf", ()):
        if branch.get("type") == "object":
            branch["maxProperties"] = MAX_METADATA_PAIRS
            branch["propertyNames"] = {"maxLength": MAX_METADATA_KEY}


def _item_types() -> JsonObject:
    assert "type" in OpaqueItem.model_fields
    known = sorted({*OPAQUE_TYPES, *(kind for kinds in PROVIDER_ITEM_TYPES.values() for kind in kinds)})
    return {"anyOf": [{"type": "string", "enum": known}, {"type": "string", "pattern": f"^{SLUG}"}]}


def _tool_types() -> JsonObject:
    assert "type" in ProviderTool.model_fields
    return {"type": "string", "enum": sorted({kind for kinds in PROVIDER_TOOL_TYPES.values() for kind in kinds})}
