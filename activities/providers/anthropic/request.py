"""A turn as the body of Anthropic's `POST /v1/messages`.

Sources: platform.claude.com/docs (Messages, structured outputs), the types of Anthropic's Python SDK 2.14.
"""

from __future__ import annotations

from activities.providers.anthropic.conversation import system_and_messages
from activities.providers.anthropic.models import Model, refused
from activities.providers.anthropic.prompt_cache import with_breakpoints
from activities.providers.anthropic.schema import native_schema
from activities.providers.anthropic.thinking import thinking_of
from activities.providers.anthropic.tools import built_in_name, tools_of
from activities.providers.shared.text_formats import format_in_words, json_format, verbosity_in_words
from activities.providers.shared.tool_choices import is_forced, plain_choice
from open_responses.contracts import SampleCall
from open_responses.errors import InvalidRequest
from open_responses.json_types import JsonObject
from open_responses.schema.text_settings import JsonSchemaFormat
from open_responses.schema.tool_choice import FunctionChoice, ProviderToolChoice, is_chosen

_BINDING_BETA = "thinking-binding-controls-2026-08-01"
_INTERLEAVED_BETA = "interleaved-thinking-2025-05-14"
# Later versions of these tools need no header.
_TOOL_BETAS = {
    "code_execution_20250522": "code-execution-2025-05-22",
    "computer_20250124": "computer-use-2025-01-24",
    "computer_20251124": "computer-use-2025-11-24",
}


def request_body(call: SampleCall, provider: str, *, prefill: bool = False) -> tuple[JsonObject, list[str]]:
    """The upstream request and the betas that it needs. What the client did not set is not sent.

    `messages` come last, so that each turn's body begins as the one before ended.
    """
    model = Model.named(call.model)
    native = native_format(call, model)
    system, messages = system_and_messages(
        call.items,
        provider=provider,
        instructions=call.request.instructions,
        words=[None if native else format_in_words(call.request), verbosity_in_words(call.request)],
        has_system_role=model.has_system_role,
        prefix=call.prefix.rstrip() if call.prefix and prefill else None,
    )
    tools = tools_of(call.tools, call.provider_tools, takes_strict=model.has_structured_outputs)
    limit = model.max_tokens
    max_tokens = limit if call.max_output_tokens is None else call.max_output_tokens
    max_tokens = min(max_tokens, limit) if model.is_claude else max_tokens
    thinking, effort = thinking_of(call, model, max_tokens, messages)
    config = ({"effort": effort} if effort else {}) | ({"format": native} if native else {})
    tools, system, messages = with_breakpoints(tools, system, messages)
    body: JsonObject = {
        "model": call.model,
        "max_tokens": max_tokens,
        "stream": True,
        **({"thinking": thinking} if thinking else {}),
        **({"output_config": config} if config else {}),
        **_sampling(call, model, thinks=bool(thinking) and thinking["type"] in ("adaptive", "enabled")),
        **_about(call),
        **({"tools": tools} if tools else {}),
        **_tool_choice(call, model, has_tools=bool(tools)),
        **({"system": system} if system else {}),
        "messages": messages,
    }
    return body, _betas(call, model, thinking)


def _betas(call: SampleCall, model: Model, thinking: JsonObject) -> list[str]:
    betas = [beta for tool in call.provider_tools if (beta := _TOOL_BETAS.get(tool["type"]))]
    if "block_binding" in thinking:
        betas.append(_BINDING_BETA)
    if thinking.get("type") == "enabled" and model.version >= (4, 0) and call.tools:
        # Without this, the model would think only before its first call, and not about the results of tools.
        betas.append(_INTERLEAVED_BETA)
    return betas


def _about(call: SampleCall) -> JsonObject:
    asked = call.request
    about: JsonObject = {}
    if asked.stop:
        about["stop_sequences"] = asked.stop
    if user_id := asked.safety_identifier or asked.user:
        about["metadata"] = {"user_id": user_id}
    # `flex` exists at OpenAI alone. It is cheaper and slower, and does not change the answer.
    tier = {"auto": "auto", "priority": "auto", "fast": "auto", "default": "standard_only"}.get(
        asked.service_tier or ""
    )
    return about | ({"service_tier": tier} if tier else {})


def _sampling(call: SampleCall, model: Model, *, thinks: bool) -> JsonObject:
    asked = call.request
    given = {"temperature": asked.temperature, "top_p": asked.top_p, "top_k": asked.top_k}
    settings = {name: value for name, value in given.items() if value is not None}
    if not model.is_claude:
        return settings
    settings = {name: value for name, value in settings.items() if name == "top_k" or value != 1}
    if settings.get("temperature", 0) > 1:
        raise InvalidRequest(
            f"{call.model} takes temperatures from 0 to 1. Send one of these.",
            param="temperature",
            code="invalid_value",
        )
    for name, value in settings.items():
        if not model.takes_sampling:
            raise refused(f"{call.model} has no {name!r}. Leave it out.", name)
        if thinks and not (name == "top_p" and value >= 0.95):
            raise refused(f"{call.model} takes no such {name!r} while it reasons. Leave one of the two out.", name)
    return settings


def _tool_choice(call: SampleCall, model: Model, *, has_tools: bool) -> JsonObject:
    if not has_tools:
        return {}
    if is_forced(call) and not model.can_be_forced:
        message = f"{call.model} cannot be forced to call a tool. Send 'auto', and ask for the call in your input."
        raise refused(message, "tool_choice")
    choice = plain_choice(call)
    if isinstance(call.tool_choice, ProviderToolChoice):
        kinds = [tool["type"] for tool in call.provider_tools if is_chosen(tool["type"], call.tool_choice)]
        choice = FunctionChoice(type="function", name=built_in_name(kinds[0])) if kinds else choice
    alone = {"disable_parallel_tool_use": True} if call.request.parallel_tool_calls is False else {}
    if choice == "none":
        return {"tool_choice": {"type": "none"}}
    if isinstance(choice, FunctionChoice):
        return {"tool_choice": {"type": "tool", "name": choice.name, **alone}}
    if choice == "required":
        return {"tool_choice": {"type": "any", **alone}}
    return {"tool_choice": {"type": "auto", **alone}} if choice is not None or alone else {}


def native_format(call: SampleCall, model: Model) -> JsonObject | None:
    """Return `output_config.format`, if the model has it and can express the schema. Otherwise the instructions
    describe the format."""
    wanted = json_format(call.request)
    if not isinstance(wanted, JsonSchemaFormat) or not model.has_structured_outputs:
        return None
    about = {"description": wanted.description} if wanted.description else {}
    schema = native_schema({**about, **wanted.schema_})
    return {"type": "json_schema", "schema": schema} if schema is not None else None
