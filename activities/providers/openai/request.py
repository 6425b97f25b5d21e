"""A turn as the body of OpenAI's `POST /responses`.

Source: OpenAI's API reference, `POST /responses`, by the types of its Python SDK (openai 3.54,
`types/responses/response_create_params.py`).
"""

from __future__ import annotations

import re

from activities.providers.openai.conversation import input_items
from activities.providers.openai.tools import tool_choice_of, tools_of
from activities.providers.shared.logprobs import LOGPROBS
from open_responses.contracts import SampleCall
from open_responses.json_types import JsonObject
from open_responses.models.capabilities import nothing_to_read
from open_responses.schema.items import Reasoning
from open_responses.schema.request_settings import COST

_PLAIN_SETTINGS = (
    "temperature",
    "top_p",
    "top_logprobs",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "user",
    "prompt",
    "moderation",
    "access_programs",
    "image",
)
ENCRYPTED_REASONING = "reasoning.encrypted_content"
# These models reject a request for encrypted reasoning, and reasoning in their input.
_WITHOUT_REASONING = re.compile(r"(?:^|[/:])(?:gpt-3\.5|gpt-4|chatgpt|gpt-5-chat)")


def request_body(call: SampleCall, provider: str, *, background: bool) -> JsonObject:
    """The upstream request. What the client did not set is not sent.

    Members that grow or change from turn to turn are last, so that the bytes before them stay the same. `provider` is
    the name with which reasoning was sealed. Raises InvalidRequest for an item that OpenAI does not accept, and for an
    empty conversation.
    """
    reasons = _WITHOUT_REASONING.search(call.model) is None
    body: JsonObject = {"model": call.model, "stream": True, "store": background}
    if background:
        body["background"] = True
    include = _include(call, reasons)
    if include:
        body["include"] = include
    body |= _settings(call) | tools_of(call)
    items = call.items if reasons else [item for item in call.items if not isinstance(item, Reasoning)]
    body["input"] = input_items(items, provider, stored=background)
    if not body["input"] and not call.request.instructions and call.request.prompt is None:
        raise nothing_to_read()
    body |= tool_choice_of(call)
    if call.provider_tools and call.request.max_tool_calls is not None:
        # OpenAI counts the calls of its own tools in one answer; the workflow counts those that this server runs.
        body["max_tool_calls"] = call.request.max_tool_calls
    if call.max_output_tokens is not None:
        body["max_output_tokens"] = call.max_output_tokens
    return body


def _include(call: SampleCall, reasons: bool) -> list[str]:
    wanted: list[str] = [ENCRYPTED_REASONING, *(name for name in call.request.include or [] if name != COST)]
    if call.request.top_logprobs:
        wanted.append(LOGPROBS)
    return [name for name in dict.fromkeys(wanted) if reasons or name != ENCRYPTED_REASONING]


def _settings(call: SampleCall) -> JsonObject:
    asked = call.request
    settings: JsonObject = {"instructions": asked.instructions} if asked.instructions else {}
    for name in _PLAIN_SETTINGS:
        value = getattr(asked, name)
        if value is not None:
            settings[name] = value
    for name in ("reasoning", "text", "prompt_cache_options"):
        value = getattr(asked, name)
        given = {} if value is None else value.model_dump(mode="json", by_alias=True, exclude_none=True)
        if given:
            settings[name] = given
    return settings
