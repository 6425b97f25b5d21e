"""A turn as the body of Gemini's streamGenerateContent.

Source: ai.google.dev/api/generate-content.
"""

from __future__ import annotations

from activities.providers.gemini.conversation import system_and_contents
from activities.providers.gemini.models import is_gemini_3
from activities.providers.gemini.schema import gemini_schema
from activities.providers.gemini.thinking import thinking_config
from activities.providers.gemini.tools import tool_settings
from activities.providers.shared.logprobs import wants_logprobs
from activities.providers.shared.text_formats import format_in_words, json_format, verbosity_in_words
from activities.providers.shared.tool_choices import is_forced
from open_responses.contracts import SampleCall
from open_responses.json_types import JsonObject
from open_responses.schema.text_settings import JsonObjectFormat, JsonSchemaFormat

_SEED_BITS = 31


def request_body(call: SampleCall, provider: str) -> JsonObject:
    """The upstream request. What the client did not set is not sent; `contents` is last, so that it only grows."""
    asked = call.request
    system, contents = system_and_contents(call.items, asked.instructions, provider=provider, model=call.model)
    if call.prefix:
        contents.append({"role": "model", "parts": [{"text": call.prefix}]})
    words = [verbosity_in_words(asked), format_in_words(asked) if not _has_native_format(call) else None]
    system += [{"text": said} for said in words if said]
    body: JsonObject = {}
    if system:
        body["systemInstruction"] = {"parts": system}
    body |= tool_settings(call)
    if settings := _generation_config(call):
        body["generationConfig"] = settings
    if asked.service_tier in ("flex", "priority"):
        body["serviceTier"] = asked.service_tier
    return {**body, "contents": contents}


def _generation_config(call: SampleCall) -> JsonObject:
    asked = call.request
    seed = None if asked.seed is None else asked.seed % (1 << _SEED_BITS)
    plain: JsonObject = {
        "temperature": asked.temperature,
        "topP": asked.top_p,
        "topK": asked.top_k,
        "maxOutputTokens": call.max_output_tokens,
        "stopSequences": asked.stop,
        "seed": seed,
        "presencePenalty": asked.presence_penalty,
        "frequencyPenalty": asked.frequency_penalty,
    }
    settings = {name: value for name, value in plain.items() if value is not None}
    if wants_logprobs(asked):
        settings["responseLogprobs"] = True
    if asked.top_logprobs:
        settings["logprobs"] = asked.top_logprobs
    if thinking := thinking_config(call):
        settings["thinkingConfig"] = thinking
    return settings | _response_format(call)


def _has_native_format(call: SampleCall) -> bool:
    """Before Gemini 3, a request with tools cannot have a JSON format. From Gemini 3 on, this holds only for a forced
    call, which has no text."""
    return is_gemini_3(call.model) or not (call.tools or call.provider_tools)


def _response_format(call: SampleCall) -> JsonObject:
    wanted = json_format(call.request)
    if not _has_native_format(call) or (call.tools and is_forced(call)):
        return {}
    if isinstance(wanted, JsonObjectFormat):
        return {"responseMimeType": "application/json"}
    if isinstance(wanted, JsonSchemaFormat):
        described = {"description": wanted.description} if wanted.description else {}
        schema = gemini_schema({**described, **wanted.schema_})
        return {"responseMimeType": "application/json", "responseJsonSchema": schema}
    return {}
