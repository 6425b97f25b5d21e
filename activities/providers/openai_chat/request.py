"""A turn as the body of `POST /chat/completions`.

Source: OpenAI's API reference, `POST /chat/completions`.
"""

from __future__ import annotations

from activities.providers.openai_chat.conversation import chat_messages
from activities.providers.openai_chat.dialects import Dialect
from activities.providers.shared.logprobs import wants_logprobs
from activities.providers.shared.object_schema import object_schema
from activities.providers.shared.text_formats import format_in_words, json_format, verbosity_in_words
from activities.providers.shared.tool_choices import plain_choice
from open_responses.contracts import Resume, SampleCall
from open_responses.errors import InvalidRequest
from open_responses.json_types import JsonObject
from open_responses.schema.request_settings import PromptCacheOptions
from open_responses.schema.requests import CreateResponse
from open_responses.schema.text_settings import JsonObjectFormat, JsonSchemaFormat
from open_responses.schema.tool_choice import FunctionChoice
from open_responses.schema.tools import FunctionTool


def request_body(call: SampleCall, provider: str, dialect: Dialect, resume: Resume) -> JsonObject:
    """The upstream request. What the client did not set is not sent."""
    asked = call.request
    messages = chat_messages(call, provider, dialect, _words(asked, dialect))
    body: JsonObject = {"model": call.model, "messages": messages, "stream": True}
    if dialect.stream_usage:
        body["stream_options"] = {"include_usage": True}
    if call.prefix and resume == "continue_final_message":
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    if call.prefix and dialect.mistral:
        messages[-1]["prefix"] = True
    return (
        body
        | _sampling(call, dialect)
        | _extras(asked, dialect)
        | _tool_settings(call, dialect)
        | _format(asked, dialect)
    )


def _sampling(call: SampleCall, dialect: Dialect) -> JsonObject:
    asked = call.request
    if asked.top_k is not None and not dialect.top_k:
        raise InvalidRequest(
            "The route's provider has no 'top_k'. Leave it out.", param="top_k", code="unsupported_parameter"
        )
    effort = asked.reasoning.effort if asked.reasoning is not None else None
    settings = {
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "top_k": asked.top_k,
        "presence_penalty": asked.presence_penalty,
        "frequency_penalty": asked.frequency_penalty,
        dialect.limit: call.max_output_tokens,
        "stop": asked.stop,
        dialect.seed: asked.seed,
        "logprobs": wants_logprobs(asked) or None,
        "top_logprobs": asked.top_logprobs or None,
    }
    given = {name: value for name, value in settings.items() if value is not None}
    return given | (dialect.effort(effort) if effort is not None else {})


def _extras(asked: CreateResponse, dialect: Dialect) -> JsonObject:
    """Return settings that only OpenAI has, and others may reject. They concern cost and abuse, and not the answer."""
    settings = {
        "verbosity": asked.text.verbosity if asked.text is not None else None,
        "prompt_cache_key": asked.prompt_cache_key,
        "prompt_cache_options": _without_nulls(asked.prompt_cache_options),
        "prompt_cache_retention": asked.prompt_cache_retention,
        "safety_identifier": asked.safety_identifier,
        # The one tier that this API lacks is left out (`open_responses/models/omissions.py`).
        "service_tier": None if asked.service_tier == "ultrafast" else asked.service_tier,
        "user": asked.user,
    }
    return {name: value for name, value in settings.items() if value is not None and name in dialect.extras}


def _without_nulls(options: PromptCacheOptions | None) -> JsonObject | None:
    given = {} if options is None else options.model_dump(mode="json", exclude_none=True)
    return {name: value for name, value in given.items() if name in ("mode", "ttl")} or None


def _words(asked: CreateResponse, dialect: Dialect) -> list[str]:
    said = [] if dialect.json_schema else [format_in_words(asked)]
    said += [] if "verbosity" in dialect.extras else [verbosity_in_words(asked)]
    return [text for text in said if text]


def _tool_settings(call: SampleCall, dialect: Dialect) -> JsonObject:
    if not call.tools:
        return {}
    settings: JsonObject = {"tools": [{"type": "function", "function": _function(tool)} for tool in call.tools]}
    if call.request.parallel_tool_calls is not None:
        settings["parallel_tool_calls"] = call.request.parallel_tool_calls
    # Only OpenAI has the chat API's own `allowed_tools`.
    choice = plain_choice(call)
    if isinstance(choice, FunctionChoice):
        settings["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    elif choice is not None:
        settings["tool_choice"] = dialect.required if choice == "required" else choice
    return settings


def _function(tool: FunctionTool) -> JsonObject:
    described = tool.model_dump(mode="json", exclude_none=True, exclude={"type", "parameters"})
    return described | {"parameters": object_schema(tool.parameters)}


def _format(asked: CreateResponse, dialect: Dialect) -> JsonObject:
    wanted = json_format(asked)
    if isinstance(wanted, JsonObjectFormat) or (isinstance(wanted, JsonSchemaFormat) and not dialect.json_schema):
        return {"response_format": {"type": "json_object"}}
    if isinstance(wanted, JsonSchemaFormat):
        schema = wanted.model_dump(mode="json", by_alias=True, exclude={"type"}, exclude_none=True)
        return {"response_format": {"type": "json_schema", "json_schema": schema | {"schema": wanted.schema_}}}
    return {}
