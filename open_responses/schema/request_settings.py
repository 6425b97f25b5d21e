"""The members of a request that are objects or lists: its settings, its metadata, and the values of `include`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import BeforeValidator, Field, Tag, model_validator

from open_responses.schema.validation import RequestObject, either, fault

MAX_METADATA_PAIRS, MAX_METADATA_KEY, MAX_METADATA_VALUE = 16, 64, 512


class ReasoningSettings(RequestObject):
    """How the model reasons. `minimal` and `max` are OpenAI's values; the specification's list has neither."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None
    context: Literal["auto", "current_turn", "all_turns"] | None = None
    mode: Annotated[str, Field(min_length=1, max_length=64)] | None = None

    @model_validator(mode="after")
    def _has_one_summary(self) -> ReasoningSettings:
        """Read OpenAI's former name of `summary`."""
        if self.generate_summary is None:
            return self
        summary = self.summary or self.generate_summary
        return self.model_copy(update={"summary": summary, "generate_summary": None})


class PromptCacheOptions(RequestObject):
    """OpenAI's options of the prompt cache. `prewarm`, which requests no answer, is an error before this is read."""

    mode: Literal["implicit", "explicit"] | None = None
    ttl: Literal["30m", "12h"] | None = None
    comparison_response_id: Annotated[str, Field(max_length=256)] | None = None
    prewarm: Literal[False] | None = None


class BackgroundOptions(RequestObject):
    """OpenAI's options of a background response. This server starts each at once, whatever the window."""

    completion_window: Literal["soonest", "2h", "8h"] | None = None
    continuation_id: Annotated[str, Field(max_length=256)] | None = None


class StreamOptions(RequestObject):
    """Options of a stream (REQ-14)."""

    include_obfuscation: bool | None = None


ServiceTier: TypeAlias = Literal["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"]
Include: TypeAlias = Literal[
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
    # Values of OpenAI's for its own built-in tools.
    "web_search_call.action.sources",
    "file_search_call.results",
    "code_interpreter_call.outputs",
    "web_search_call.results",
    "computer_call_output.output.image_url",
    # This server always returns whole items.
    "message.input_image.image_url",
    # Ours: `usage.cost_usd`.
    "open_responses.cost",
]
COST: Include = "open_responses.cost"
# REQ-12.
INCLUDES: tuple[str, ...] = get_args(Include)


def _metadata_in_bounds(value: Any) -> Any:
    """Check REQ-13. Pydantic would report a key that is too long under a path that no client recognises."""
    if isinstance(value, dict):
        if len(value) > MAX_METADATA_PAIRS:
            raise fault("invalid_value", f"must have at most {MAX_METADATA_PAIRS} pairs, but has {len(value)}")
        for key in value:
            if isinstance(key, str) and len(key) > MAX_METADATA_KEY:
                raise fault("invalid_value", f"must be a key of at most {MAX_METADATA_KEY} characters", field=key)
    return value


Metadata: TypeAlias = Annotated[
    dict[str, Annotated[str, Field(max_length=MAX_METADATA_VALUE)]], BeforeValidator(_metadata_in_bounds)
]


class ContextManagement(RequestObject):
    """OpenAI's `context_management`: a conversation with more tokens than the threshold is summarized."""

    type: Literal["compaction"]
    compact_threshold: Annotated[int, Field(ge=1000)] = 200_000


class ConversationParam(RequestObject):
    """A conversation, by its id."""

    id: Annotated[str, Field(min_length=1, max_length=64)]


ConversationReference: TypeAlias = Annotated[
    Annotated[str, Field(min_length=1, max_length=64), Tag("<string>")] | Annotated[ConversationParam, Tag("<object>")],
    either("a string or an object with an id", string=str, object=dict | ConversationParam),
]
