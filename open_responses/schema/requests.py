"""The body of `POST /v1/responses`, and its validation (HTTP-3, REQ-1 to REQ-16).

Validation is strict: a number is not read from a string, and an unknown name is an error, since a typo that is ignored
would change the answer. An explicit null means "not set", because OpenAI's clients send it so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, Tag, ValidationError, ValidationInfo, model_validator

from open_responses.errors import InvalidRequest
from open_responses.json_types import JsonObject
from open_responses.schema.client_items import AdditionalTools, ConfigurationUpdate, ToolSearchOutput
from open_responses.schema.content import Text
from open_responses.schema.items import MAX_ITEMS, InputItem, UserMessage
from open_responses.schema.json_schema_cost import SchemaBudget, SchemaTooCostly
from open_responses.schema.request_settings import (
    BackgroundOptions,
    ContextManagement,
    ConversationParam,
    ConversationReference,
    Include,
    Metadata,
    PromptCacheOptions,
    ReasoningSettings,
    ServiceTier,
    StreamOptions,
)
from open_responses.schema.text_settings import JsonSchemaFormat, TextSettings
from open_responses.schema.tool_choice import ToolChoice, check_choice_fits
from open_responses.schema.tools import (
    FunctionTool,
    NamespaceTool,
    OfferedTool,
    Tool,
    Tools,
    ToolSearchTool,
    check_names_are_unique,
    check_search_finds,
)
from open_responses.schema.validation import CHECK_NAMES, RequestObject, complaint_of, either, fault, small_schema
from open_responses.schema.webhooks import WebhookParam

# A limit of this server: the name becomes a search attribute and a line in Temporal's UI.
MAX_MODEL_NAME = 256

# Parameters of OpenAI's API that this server accepts and ignores, since they do not change the answer.
IGNORED_PARAMETERS = {
    "client_metadata": "what a client says of itself, for OpenAI's own statistics (Codex sends it)",
}
# Parameters of OpenAI's API that are an error, since the answer without them would differ.
UNSUPPORTED_PARAMETERS = {
    "generate": "each request generates an answer. Leave it out",
}
# Names of the Chat Completions API, and the names of the same parameters here.
CALLED_HERE = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
    "verbosity": "text.verbosity",
    "functions": "tools",
    "function_call": "tool_choice",
    "logprobs": "top_logprobs",
}


def validate_create_response(body: JsonObject) -> CreateResponse:
    """Validate a body that `read_json_object` has parsed, or a WebSocket message without its `type`.

    Args:
        body: The parsed body.

    Raises:
        InvalidRequest: The first fault of the body. `param` is a path (`input[0].content[1].text`), and the code is
            `unknown_parameter`, `unsupported_parameter`, `unsupported_tool`, `missing_required_parameter`,
            `mutually_exclusive_parameters`, `invalid_type` or `invalid_value`.
    """
    _refuse_prewarming(body.get("prompt_cache_options"))
    try:
        asked = CreateResponse.model_validate(body, context=CHECK_NAMES)
    except ValidationError as error:
        raise complaint_of(error) from None
    _check_schema_costs(asked)
    return asked


def schemas_of(asked: CreateResponse) -> dict[str, JsonObject]:
    """Return the client's JSON Schemas by their path in the request: of `text.format` and of each function."""
    schemas: dict[str, JsonObject] = {}
    if asked.text is not None and isinstance(asked.text.format, JsonSchemaFormat):
        schemas["text.format.schema"] = asked.text.format.schema_
    for index, update in _updates(asked):
        settings = text_settings_of(update)
        if settings is not None and isinstance(settings.format, JsonSchemaFormat):
            schemas[f"input[{index}].text.format.schema"] = settings.format.schema_
    for path, tools in [("tools", asked.tools or []), *tools_of_items(asked)]:
        for place, tool in _each_tool(path, tools):
            if isinstance(tool, FunctionTool | ToolSearchTool) and tool.parameters is not None:
                schemas[f"{place}.parameters"] = tool.parameters
    return schemas


def _updates(asked: CreateResponse) -> list[tuple[int, ConfigurationUpdate]]:
    items = enumerate(asked.input if isinstance(asked.input, list) else ())
    return [(index, item) for index, item in items if isinstance(item, ConfigurationUpdate)]


def text_settings_of(update: ConfigurationUpdate) -> TextSettings | None:
    """Return the `text` of an update. Raises ValidationError for one that a client's body could not have."""
    return None if update.text is None else TextSettings.model_validate(update.text)


def _each_tool(path: str, tools: Sequence[Tool]) -> Iterator[tuple[str, Tool]]:
    """(path, tool), of all tools and those within namespaces."""
    for index, tool in enumerate(tools):
        yield f"{path}[{index}]", tool
        if isinstance(tool, NamespaceTool):
            yield from _each_tool(f"{path}[{index}].tools", tool.tools)


def tools_of_items(asked: CreateResponse) -> list[tuple[str, Sequence[OfferedTool]]]:
    """Return (path, tools) of each item of the input that offers tools."""
    items = enumerate(asked.input if isinstance(asked.input, list) else ())
    return [
        (f"input[{index}].tools", item.tools)
        for index, item in items
        if isinstance(item, AdditionalTools | ToolSearchOutput)
    ]


def _check_schema_costs(asked: CreateResponse) -> None:
    """Check the cost of the schemas of a new request. A stored request is not checked again, so that it can end."""
    budget = SchemaBudget()
    for param, schema in schemas_of(asked).items():
        try:
            budget.spend(schema)
        except SchemaTooCostly as error:
            raise InvalidRequest(f"'{param}' {error}.", param=param, code="invalid_value") from None


def _refuse_prewarming(cache_options: Any) -> None:
    """Reject the one cache option that changes the result: it requests no answer at all."""
    if isinstance(cache_options, dict) and cache_options.get("prewarm"):
        param = "prompt_cache_options.prewarm"
        message = f"'{param}' is not supported here: each request generates an answer. Leave it out."
        raise InvalidRequest(message, param=param, code="unsupported_parameter")


def present(value: Any) -> Any:
    """Return the value; a `fault` if it is null, for fields that must be given."""
    if value is None:
        raise fault("missing_required_parameter", "")
    return value


def printable(model: str) -> str:
    """Return the model's name; a `fault` if it is blank or has control characters."""
    if not model.strip() or not model.isprintable():
        raise fault("invalid_value", "must be a model's name, without control characters")
    return model


Input: TypeAlias = Annotated[
    Annotated[Text, Tag("<string>")]
    | Annotated[list[InputItem], Field(max_length=MAX_ITEMS, fail_fast=True), Tag("<items>")],
    either("a string or an array of items", string=str, items=list),
    BeforeValidator(present),
]
Number: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]
StopText: TypeAlias = Annotated[str, Field(min_length=1, max_length=256)]


def _continues(body: dict[Any, Any]) -> bool:
    return any(body.get(name) is not None for name in ("previous_response_id", "conversation", "prompt"))


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _check_update(index: int, update: ConfigurationUpdate) -> None:
    try:
        text_settings_of(update)
    except ValidationError as error:
        complaint = "must have the form of the request's 'text': " + complaint_of(error).message.removesuffix(".")
        raise fault("invalid_value", complaint, field=f"input[{index}].text") from None


class CreateResponse(RequestObject):
    """A validated request.

    `model_fields_set` has the names of the fields that were sent. `model_dump_json(exclude_unset=True)` is the compact
    form, which `model_validate_json` reads back. `stop`, `seed` and `top_k` are extensions: a request with one of them
    is an error if the route's provider does not support it. `webhook` is an extension as well.
    """

    IGNORED: ClassVar[dict[str, str]] = IGNORED_PARAMETERS
    UNSUPPORTED: ClassVar[dict[str, str]] = UNSUPPORTED_PARAMETERS
    CALLED_HERE: ClassVar[dict[str, str]] = CALLED_HERE

    model: Annotated[str, Field(max_length=MAX_MODEL_NAME), AfterValidator(printable), BeforeValidator(present)]
    input: Input
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation: ConversationReference | None = None
    tools: Tools | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: Annotated[int, Field(ge=1)] | None = None
    max_output_tokens: Annotated[int, Field(ge=16)] | None = None
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = None
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    presence_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    text: TextSettings | None = None
    reasoning: ReasoningSettings | None = None
    include: Annotated[list[Include], Field(max_length=64, fail_fast=True)] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    metadata: Metadata | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    store: bool | None = None
    background: bool | None = None
    service_tier: ServiceTier | None = None
    safety_identifier: Annotated[str, Field(max_length=128)] | None = None
    user: Annotated[str, Field(max_length=512)] | None = None
    prompt_cache_retention: Literal["in_memory", "in-memory", "24h"] | None = None
    prompt_cache_options: PromptCacheOptions | None = None
    prompt: Annotated[JsonObject, AfterValidator(small_schema)] | None = None
    moderation: Annotated[JsonObject, AfterValidator(small_schema)] | None = None
    access_programs: Annotated[JsonObject, AfterValidator(small_schema)] | None = None
    image: Annotated[JsonObject, AfterValidator(small_schema)] | None = None
    background_options: BackgroundOptions | None = None
    prompt_cache_key: Annotated[str, Field(max_length=64)] | None = None
    stop: Annotated[list[StopText], Field(min_length=1, max_length=16), BeforeValidator(_as_list)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] | None = None
    top_k: Annotated[int, Field(ge=1)] | None = None
    context_management: Annotated[list[ContextManagement], Field(max_length=1, fail_fast=True)] | None = None
    webhook: WebhookParam | None = None

    @property
    def compact_threshold(self) -> int | None:
        """Tokens of context above which the context is summarized; None for never."""
        return self.context_management[0].compact_threshold if self.context_management else None

    @property
    def is_streamed(self) -> bool:
        """Whether the answer is a stream of events."""
        return self.stream is True

    @property
    def is_stored(self) -> bool:
        """Whether the response can be read after its end."""
        return self.store is not False

    @property
    def is_background(self) -> bool:
        """Whether the request returns before the response ends."""
        return self.background is True

    @property
    def conversation_id(self) -> str | None:
        """The id of the conversation; None if the request names none."""
        return self.conversation.id if isinstance(self.conversation, ConversationParam) else self.conversation

    def input_items(self) -> list[InputItem]:
        """Return the input as items. A string is one user message (HTTP-3)."""
        if isinstance(self.input, str):
            return [UserMessage(type="message", role="user", content=self.input)]
        return self.input

    @model_validator(mode="before")
    @classmethod
    def _may_go_on_without_input(cls, body: Any) -> Any:
        """Accept a missing `input` in a request that continues a response or a conversation."""
        if isinstance(body, dict) and body.get("input") is None and _continues(body):
            return {**body, "input": []}
        return body

    @model_validator(mode="after")
    def _parts_fit_together(self, info: ValidationInfo) -> CreateResponse:
        if self.input == [] and self.previous_response_id is None and self.conversation is None and not self.prompt:
            raise fault("invalid_value", "must have at least one item", field="input")
        check_names_are_unique(self.tools or [])
        offered: list[Tool] = list(self.tools or [])
        for path, tools in tools_of_items(self):
            check_names_are_unique(tools, path)
            offered += tools
        for index, update in _updates(self):
            _check_update(index, update)
        if self.input != "" or info.context:
            # The start of a response holds its input apart (`StartResponse`), and with it tools that these checks need.
            # The body of a client, whose input may be empty too, is validated with a context.
            check_choice_fits(self.tool_choice, offered)
            continues = bool(self.previous_response_id or self.conversation)
            check_search_finds(self.tools or [], offered, continues=continues)
        if self.conversation is not None and self.previous_response_id is not None:
            complaint = "cannot be sent together with 'previous_response_id'. Send one of them"
            raise fault("mutually_exclusive_parameters", complaint, field="conversation")
        if self.is_background and not self.is_stored:
            raise fault(
                "invalid_value", "is true, but 'store' is false. Set 'store' to true as well", field="background"
            )
        if self.stream_options is not None and not self.is_streamed:
            raise fault(
                "invalid_value", "is only for streams. Set 'stream' to true, or leave it out", field="stream_options"
            )
        return self
