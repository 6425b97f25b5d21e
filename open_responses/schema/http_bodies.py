"""The JSON bodies of HTTP responses, as types of the objects that a client receives.

They are not validated at run time: see `output_items.py`. The members of `Response` and `Usage` are those of the
specification's `ResponseResource` and `Usage`; `tests/api/test_openapi.py` compares them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NotRequired

from typing_extensions import TypeAliasType, TypedDict

from open_responses.json_types import JsonObject
from open_responses.schema.output_items import CompactionItem, Count, OutputItem

ResponseStatus = TypeAliasType(
    "ResponseStatus", Literal["queued", "in_progress", "completed", "failed", "incomplete", "cancelled"]
)


# --- a response


class InputTokensDetails(TypedDict):
    """`cache_write_tokens` is an extension: the tokens that the provider wrote to its prompt cache."""

    cached_tokens: Count
    cache_write_tokens: NotRequired[Count]


class OutputTokensDetails(TypedDict):
    """The part of the output that is reasoning."""

    reasoning_tokens: Count


# A name with a colon needs the functional form.
_Estimated = TypedDict("_Estimated", {"open_responses:estimated": bool}, total=False)


class Usage(_Estimated):
    """Tokens, summed over all model turns. `open_responses:estimated`: the server counted, the provider did not.

    `cost_usd` is there if `include` has `open_responses.cost`; null if a part of the cost is not known.
    """

    input_tokens: Count
    input_tokens_details: InputTokensDetails
    output_tokens: Count
    output_tokens_details: OutputTokensDetails
    total_tokens: Count
    cost_usd: NotRequired[float | None]


class ResponseFailure(TypedDict):
    """Why the response failed. The codes: docs/errors.md."""

    code: str
    message: str


class IncompleteDetails(TypedDict):
    """Why the response is incomplete, such as `max_output_tokens`."""

    reason: str


class EchoedTextFormat(TypedDict):
    """The last four are those of `json_schema`. The schema itself is not echoed: the specification has null there."""

    type: Literal["text", "json_object", "json_schema"]
    name: NotRequired[str]
    description: NotRequired[str | None]
    schema: NotRequired[None]
    strict: NotRequired[bool]


class EchoedText(TypedDict):
    """The `text` settings in effect."""

    format: EchoedTextFormat
    verbosity: NotRequired[Literal["low", "medium", "high"] | None]


class EchoedReasoning(TypedDict):
    """The `reasoning` settings in effect."""

    effort: str | None
    summary: str | None
    context: NotRequired[str]
    mode: NotRequired[str]


class EchoedTool(TypedDict):
    """A tool that the model could call: a function, an MCP server, or a provider's built-in tool."""

    type: str
    name: NotRequired[str]
    description: NotRequired[str | None]
    parameters: NotRequired[JsonObject | None]
    strict: NotRequired[bool | None]
    server_label: NotRequired[str]
    server_url: NotRequired[str]


class ConversationReference(TypedDict):
    """The conversation that the response extends."""

    id: str


class Response(TypedDict):
    """A response as it is now. Each setting is echoed with the value that takes effect."""

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: ResponseStatus
    incomplete_details: IncompleteDetails | None
    model: str
    previous_response_id: str | None
    instructions: str | Sequence[JsonObject] | None
    output: Sequence[OutputItem]
    error: ResponseFailure | None
    tools: Sequence[EchoedTool]
    tool_choice: Literal["none", "auto", "required"] | JsonObject
    truncation: Literal["auto", "disabled"]
    parallel_tool_calls: bool
    text: EchoedText
    top_p: float
    presence_penalty: float
    frequency_penalty: float
    top_logprobs: int
    temperature: float
    reasoning: EchoedReasoning | None
    usage: Usage | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    store: bool
    background: bool
    service_tier: str
    metadata: Mapping[str, str]
    safety_identifier: str | None
    prompt_cache_key: str | None
    conversation: NotRequired[ConversationReference | None]


class DeletedResponse(TypedDict):
    """The response is deleted."""

    id: str
    object: Literal["response"]
    deleted: Literal[True]


class ResponseSteer(TypedDict):
    """Messages that a running response has accepted. `previous_response_id` is that response, as OpenAI names it."""

    object: Literal["response.steer"]
    id: str
    previous_response_id: str


class InputTokens(TypedDict):
    """The length of a request's context."""

    object: Literal["response.input_tokens"]
    input_tokens: Count


# --- items that are listed


class ListedItem(TypedDict):
    """An item of an input or of a conversation."""

    type: str
    id: str


class ItemPage(TypedDict):
    """A page of items. `last_id`, sent as `after`, gets the next page."""

    object: Literal["list"]
    data: Sequence[ListedItem]
    first_id: str | None
    last_id: str | None
    has_more: bool


class Compacted(TypedDict):
    """A compacted conversation. `output` is the input of the next request."""

    id: str
    object: Literal["response.compaction"]
    created_at: int
    output: Sequence[CompactionItem | ListedItem]
    usage: Usage


# --- conversations


class Conversation(TypedDict):
    """A conversation, without its items. `created_at` is in Unix seconds."""

    id: str
    object: Literal["conversation"]
    created_at: int
    metadata: Mapping[str, str]


class DeletedConversation(TypedDict):
    """The conversation is deleted."""

    id: str
    object: Literal["conversation.deleted"]
    deleted: Literal[True]


# --- the server


class Model(TypedDict):
    """A model that a request can name. `created` is in Unix seconds, or 0 if the provider does not say it."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(TypedDict):
    """All models that the key may use, except those that only a pattern of a route matches."""

    object: Literal["list"]
    data: Sequence[Model]


class UsageRow(TypedDict):
    """What the responses of one group used. A group has the members that `group_by` names.

    `cost_usd` is the sum of the known costs; null if no price is known. `unpriced_responses` counts those of which a
    part has no known price.
    """

    day: NotRequired[str]
    tenant: NotRequired[str]
    model: NotRequired[str]
    responses: Count
    failed: Count
    input_tokens: Count
    cached_tokens: Count
    output_tokens: Count
    reasoning_tokens: Count
    total_tokens: Count
    cost_usd: float | None
    unpriced_responses: Count


# `from` is a keyword.
_UsageFrom = TypedDict("_UsageFrom", {"from": str})


class UsageReport(_UsageFrom):
    """The usage of a time. `from` and `to` are UTC days, and `to` is excluded.

    `is_complete` is false after a loss of Redis, until the counts are rebuilt.
    """

    object: Literal["usage"]
    to: str
    group_by: Sequence[str]
    is_complete: bool
    data: Sequence[UsageRow]
    total: UsageRow


class Health(TypedDict):
    """Whether the server is ready.

    `missing` has a reason for each part that is not well: `temporal`, `redis`, `workers`, `files`,
    `encryption_keys`.
    `configuration`: there if the configuration file as it is now is not in force; the one before it is.
    """

    status: str
    missing: NotRequired[Mapping[str, str]]
    configuration: NotRequired[str]


class ApiKeyLimits(TypedDict):
    """The limits of an API key, those that were not set included. Null: there is no limit."""

    requests_per_minute: int | None
    tokens_per_minute: int | None
    max_concurrent: int | None
    max_open_streams: int | None
    max_received_bytes: int | None
    reads_per_minute: int | None
    budget_tokens: int | None
    budget_usd: float | None
    budget_period: Literal["day", "month"]


class ApiKey(TypedDict):
    """An API key, without the key itself. Times are Unix seconds. A key of the configuration file has source `file`."""

    object: Literal["api_key"]
    id: str
    name: str | None
    tenant: str
    scopes: Sequence[str]
    models: Sequence[str]
    tools: Sequence[str]
    limits: ApiKeyLimits
    weight: float
    created_at: int | None
    expires_at: int | None
    revoked_at: int | None
    last_used_at: int | None
    source: Literal["runtime", "file"]
    prefix: str | None


class CreatedApiKey(ApiKey):
    """A new API key. No other answer has `key`."""

    key: str


class ApiKeyPage(TypedDict):
    """A page of API keys."""

    object: Literal["list"]
    data: Sequence[ApiKey]
    first_id: str | None
    last_id: str | None
    has_more: bool


class ApiKeyChange(TypedDict):
    """A change of an API key: when, what, and by which key of an operator. Names are those of now."""

    object: Literal["api_key.change"]
    id: str
    at: int
    action: Literal["created", "changed", "revoked"]
    key_id: str
    tenant: str
    by: str
    fields: Sequence[str]
    values: JsonObject
    key_name: str | None
    by_tenant: str | None
    by_name: str | None


class ApiKeyChangePage(TypedDict):
    """A page of changes of API keys."""

    object: Literal["list"]
    data: Sequence[ApiKeyChange]
    first_id: str | None
    last_id: str | None
    has_more: bool


class ErrorDetails(TypedDict):
    """`code` is the reason for programs, `param` the member of the body (`input[2].content`). Codes: docs/errors.md."""

    message: str
    type: Literal["invalid_request", "not_found", "too_many_requests", "server_error", "model_error"]
    param: str | None
    code: str | None


class Error(TypedDict):
    """The body of every HTTP response with a status of 400 and above, except those of `/readyz`."""

    error: ErrorDetails
