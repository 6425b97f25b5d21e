"""A good body, and each way to spoil it: what is changed, and the code and the place that the refusal names."""

from __future__ import annotations

from typing import Any
from unittest.mock import sentinel

GONE = sentinel.GONE
WEATHER = {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}}
ALLOW_WEATHER = {"type": "allowed_tools", "tools": [{"type": "function", "name": "get_weather"}]}


def body(**changes: Any) -> dict[str, Any]:
    whole = {"model": "smollm2", "input": "hi", **changes}
    return {name: value for name, value in whole.items() if value is not GONE}


def item(value: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": "first"}, value]}


def part(value: Any, role: str = "user") -> dict[str, Any]:
    good = {"type": "output_text" if role == "assistant" else "input_text", "text": "a"}
    return item({"type": "message", "role": role, "content": [good, value]})


def tool(**changes: Any) -> dict[str, Any]:
    changed = {name: value for name, value in {**WEATHER, **changes}.items() if value is not GONE}
    return {"tools": [WEATHER | {"name": "first"}, changed]}


def schema_format(**changes: Any) -> dict[str, Any]:
    whole = {"type": "json_schema", "name": "answer", "schema": {"type": "object"}, **changes}
    return {"text": {"format": {name: value for name, value in whole.items() if value is not GONE}}}


MISSING, TYPE, VALUE = "missing_required_parameter", "invalid_type", "invalid_value"
UNKNOWN, UNSUPPORTED, TOOL = "unknown_parameter", "unsupported_parameter", "unsupported_tool"

# (changes to a good body, code, param)
BAD_BODIES: list[tuple[dict[str, Any], str, str]] = [
    # model and input
    ({"model": GONE}, MISSING, "model"),
    ({"model": None}, MISSING, "model"),
    ({"model": ""}, VALUE, "model"),
    ({"model": "  "}, VALUE, "model"),
    ({"model": "a\u0000b"}, VALUE, "model"),
    ({"model": "m" * 257}, VALUE, "model"),
    ({"model": 7}, TYPE, "model"),
    ({"model": ["smollm2"]}, TYPE, "model"),
    ({"input": GONE}, MISSING, "input"),
    ({"input": None}, MISSING, "input"),
    ({"input": []}, VALUE, "input"),
    ({"input": 5}, TYPE, "input"),
    ({"input": True}, TYPE, "input"),
    ({"input": {"role": "user", "content": "hi"}}, TYPE, "input"),
    ({"input": "x" * 10_485_761}, VALUE, "input"),
    ({"input": [{"role": "user", "content": "x"}] * 10_001}, VALUE, "input"),
    # names
    ({"temprature": 1}, UNKNOWN, "temprature"),
    ({"inputs": "hi", "input": GONE}, UNKNOWN, "inputs"),
    ({"messages": []}, UNKNOWN, "messages"),
    ({"": 1}, UNKNOWN, ""),
    ({"n": None}, UNKNOWN, "n"),
    ({"conversation": 7}, TYPE, "conversation"),
    ({"conversation": {"id": "conv_1", "of": "x"}}, UNKNOWN, "conversation.of"),
    (
        {"context_management": [{"type": "compaction", "compact_threshold": 5}]},
        VALUE,
        "context_management[0].compact_threshold",
    ),
    ({"context_management": [{"type": "forget"}]}, VALUE, "context_management[0].type"),
    ({"prompt_cache_options": {"prewarm": True}}, UNSUPPORTED, "prompt_cache_options.prewarm"),
    # items
    (item("hi"), TYPE, "input[1]"),
    (item(None), TYPE, "input[1]"),
    (item({}), MISSING, "input[1].type"),
    (item({"content": "hi"}), MISSING, "input[1].role"),
    (item({"type": "message", "content": "hi"}), MISSING, "input[1].role"),
    (item({"role": "user"}), MISSING, "input[1].content"),
    (item({"role": "user", "content": None}), TYPE, "input[1].content"),
    (item({"role": "user", "content": {"type": "input_text", "text": "hi"}}), TYPE, "input[1].content"),
    (item({"role": "tool", "content": "hi"}), VALUE, "input[1].role"),
    (item({"role": 1, "content": "hi"}), TYPE, "input[1].role"),
    (item({"role": ["user"], "content": "hi"}), TYPE, "input[1].role"),
    (item({"type": "mesage", "role": "user", "content": "hi"}), VALUE, "input[1].type"),
    (item({"type": 3}), TYPE, "input[1].type"),
    (item({"type": "opaque"}), VALUE, "input[1].type"),
    (item({"type": "user", "role": "user", "content": "hi"}), VALUE, "input[1].type"),
    (item({"type": "compaction_trigger"}), VALUE, "input[1].type"),
    (item({"type": "message", "role": "user", "content": "hi", "id": 5}), TYPE, "input[1].id"),
    (item({"role": "assistant", "content": "hi", "phase": "draft"}), VALUE, "input[1].phase"),
    # content parts
    (part("hi"), TYPE, "input[1].content[1]"),
    (part({"text": "hi"}), MISSING, "input[1].content[1].type"),
    (part({"type": "input_text"}), MISSING, "input[1].content[1].text"),
    (part({"type": "input_text", "text": 1}), TYPE, "input[1].content[1].text"),
    (part({"type": "text", "text": "hi"}), VALUE, "input[1].content[1].type"),
    (part({"type": "output_text", "text": "hi"}), VALUE, "input[1].content[1].type"),
    (part({"type": "input_video", "video_url": "x"}), VALUE, "input[1].content[1].type"),
    (part({"type": "input_text", "text": "hi"}, role="assistant"), VALUE, "input[1].content[1].type"),
    (part({"type": "refusal"}, role="assistant"), MISSING, "input[1].content[1].refusal"),
    (part({"type": "input_image", "image_url": "x"}, role="system"), VALUE, "input[1].content[1].type"),
    (part({"type": "input_image"}), MISSING, "input[1].content[1].image_url"),
    (part({"type": "input_image", "image_url": "x", "detail": "huge"}), VALUE, "input[1].content[1].detail"),
    (part({"type": "input_file"}), MISSING, "input[1].content[1].file_data"),
    (
        part({"type": "output_text", "text": "", "annotations": [{}]}, role="assistant"),
        MISSING,
        "input[1].content[1].annotations[0].type",
    ),
    (
        part({"type": "output_text", "text": "", "annotations": [{"type": "url_citation"}]}, role="assistant"),
        MISSING,
        "input[1].content[1].annotations[0].url",
    ),
    # calls, outputs, reasoning, references
    (item({"type": "function_call", "name": "f", "arguments": "{}"}), MISSING, "input[1].call_id"),
    (item({"type": "function_call", "call_id": "", "name": "f", "arguments": "{}"}), VALUE, "input[1].call_id"),
    (item({"type": "function_call", "call_id": "c" * 65, "name": "f", "arguments": ""}), VALUE, "input[1].call_id"),
    (item({"type": "function_call", "call_id": "c", "name": "a b", "arguments": "{}"}), VALUE, "input[1].name"),
    (item({"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}), TYPE, "input[1].arguments"),
    (
        item({"type": "function_call", "call_id": "c", "name": "f", "arguments": "", "status": "done"}),
        VALUE,
        "input[1].status",
    ),
    (item({"type": "function_call_output", "call_id": "c"}), MISSING, "input[1].output"),
    (item({"type": "function_call_output", "call_id": "c", "output": {"a": 1}}), TYPE, "input[1].output"),
    (
        item({"type": "function_call_output", "call_id": "c", "output": [{"type": "input_video"}]}),
        MISSING,
        "input[1].output[0].video_url",
    ),
    (item({"type": "reasoning"}), MISSING, "input[1].summary"),
    (item({"type": "reasoning", "summary": [{"type": "text", "text": ""}]}), VALUE, "input[1].summary[0].type"),
    (item({"type": "compaction"}), MISSING, "input[1].encrypted_content"),
    (item({"type": "item_reference"}), MISSING, "input[1].id"),
    (item({"type": "item_reference", "id": ""}), VALUE, "input[1].id"),
    # tools
    ({"tools": {}}, TYPE, "tools"),
    ({"tools": ["get_weather"]}, TYPE, "tools[0]"),
    ({"tools": [WEATHER] * 513}, VALUE, "tools"),
    (tool(type=GONE), MISSING, "tools[1].type"),
    (tool(type="functon"), VALUE, "tools[1].type"),
    (tool(type=1), TYPE, "tools[1].type"),
    (tool(type="open_responses:teleport"), TOOL, "tools[1].type"),
    ({"stop": []}, VALUE, "stop"),
    ({"stop": [""]}, VALUE, "stop[0]"),
    ({"seed": -1}, VALUE, "seed"),
    ({"top_k": 0}, VALUE, "top_k"),
    (tool(type="open_responses:hosted_tools"), UNKNOWN, "tools[1].name"),
    (tool(type="open_responses:no_such"), TOOL, "tools[1].type"),
    (tool(name=GONE), MISSING, "tools[1].name"),
    (tool(name="get weather"), VALUE, "tools[1].name"),
    (tool(name="a" * 65), VALUE, "tools[1].name"),
    (tool(name="a\n"), VALUE, "tools[1].name"),
    (tool(name="first"), VALUE, "tools[1].name"),
    (tool(parameters="{}"), TYPE, "tools[1].parameters"),
    (tool(parameters={"type": "string"}), VALUE, "tools[1].parameters.type"),
    (tool(parameters={"properties": []}), TYPE, "tools[1].parameters.properties"),
    (tool(parameters={"required": "city"}), TYPE, "tools[1].parameters.required"),
    (tool(strict="yes"), TYPE, "tools[1].strict"),
    (tool(params={}), UNKNOWN, "tools[1].params"),
    (tool(name=GONE, function={"name": "x"}), UNSUPPORTED, "tools[1].function"),
    # tool_choice
    ({"tool_choice": "any"}, VALUE, "tool_choice"),
    ({"tool_choice": 1}, TYPE, "tool_choice"),
    ({"tool_choice": {"name": "x"}}, MISSING, "tool_choice.type"),
    ({"tool_choice": {"type": "mcp", "server_label": "x"}}, VALUE, "tool_choice.server_label"),
    ({"tool_choice": {"type": "web_search"}}, VALUE, "tool_choice.type"),
    ({"tool_choice": {"type": "nothing"}}, VALUE, "tool_choice.type"),
    ({"tool_choice": {"type": "mode"}}, VALUE, "tool_choice.type"),
    ({"generate": False}, UNSUPPORTED, "generate"),
    ({"prompt": "pmpt_1"}, TYPE, "prompt"),
    ({"moderation": True}, TYPE, "moderation"),
    ({"service_tier": "cheap"}, VALUE, "service_tier"),
    ({"prompt_cache_retention": "1h"}, VALUE, "prompt_cache_retention"),
    ({"prompt_cache_options": {"ttl": "1h"}}, VALUE, "prompt_cache_options.ttl"),
    ({"reasoning": {"context": "none"}}, VALUE, "reasoning.context"),
    ({"tool_choice": "required"}, VALUE, "tool_choice"),
    ({"tool_choice": "required", "tools": []}, VALUE, "tool_choice"),
    ({"tool_choice": {"type": "function", "name": "get_weather"}}, VALUE, "tool_choice.name"),
    ({"tool_choice": {"type": "function"}, "tools": [WEATHER]}, MISSING, "tool_choice.name"),
    ({"tool_choice": {"type": "function", "name": "other"}, "tools": [WEATHER]}, VALUE, "tool_choice.name"),
    ({"tool_choice": ALLOW_WEATHER}, VALUE, "tool_choice.tools[0].name"),
    ({"tool_choice": {**ALLOW_WEATHER, "tools": []}, "tools": [WEATHER]}, VALUE, "tool_choice.tools"),
    ({"tool_choice": {**ALLOW_WEATHER, "mode": "some"}, "tools": [WEATHER]}, VALUE, "tool_choice.mode"),
    (
        {"tool_choice": {"type": "allowed_tools", "tools": [{"type": "mcp"}]}},
        MISSING,
        "tool_choice.tools[0].server_label",
    ),
    # numbers
    ({"temperature": "0.5"}, TYPE, "temperature"),
    ({"temperature": True}, TYPE, "temperature"),
    ({"temperature": 2.1}, VALUE, "temperature"),
    ({"temperature": -0.1}, VALUE, "temperature"),
    ({"top_p": 1.5}, VALUE, "top_p"),
    ({"presence_penalty": -2.5}, VALUE, "presence_penalty"),
    ({"frequency_penalty": 3}, VALUE, "frequency_penalty"),
    ({"top_logprobs": 21}, VALUE, "top_logprobs"),
    ({"top_logprobs": -1}, VALUE, "top_logprobs"),
    ({"max_output_tokens": 15}, VALUE, "max_output_tokens"),
    ({"max_output_tokens": 16.5}, TYPE, "max_output_tokens"),
    ({"max_output_tokens": True}, TYPE, "max_output_tokens"),
    ({"max_output_tokens": 10**30}, VALUE, "max_output_tokens"),
    ({"max_tool_calls": 0}, VALUE, "max_tool_calls"),
    (tool(parameters={"properties": {"n": {"maximum": 10**25}}}), VALUE, "tools[1].parameters.properties.n.maximum"),
    # switches
    ({"stream": 1}, TYPE, "stream"),
    ({"stream": "true"}, TYPE, "stream"),
    ({"store": "no"}, TYPE, "store"),
    ({"background": 0}, TYPE, "background"),
    ({"parallel_tool_calls": "false"}, TYPE, "parallel_tool_calls"),
    ({"background": True, "store": False}, VALUE, "background"),
    ({"stream_options": {"include_obfuscation": True}}, VALUE, "stream_options"),
    ({"stream_options": {}, "stream": False}, VALUE, "stream_options"),
    ({"stream_options": {"include_obfuscation": 1}, "stream": True}, TYPE, "stream_options.include_obfuscation"),
    ({"stream_options": {"include_usage": True}, "stream": True}, UNKNOWN, "stream_options.include_usage"),
    # the other settings
    ({"truncation": "on"}, VALUE, "truncation"),
    ({"truncation": True}, TYPE, "truncation"),
    ({"service_tier": "gold"}, VALUE, "service_tier"),
    ({"include": ["message.input_audio.data"]}, VALUE, "include[0]"),
    ({"include": "reasoning.encrypted_content"}, TYPE, "include"),
    ({"instructions": ["be brief"]}, TYPE, "instructions"),
    ({"previous_response_id": 5}, TYPE, "previous_response_id"),
    ({"safety_identifier": "s" * 129}, VALUE, "safety_identifier"),
    ({"prompt_cache_key": "k" * 65}, VALUE, "prompt_cache_key"),
    ({"metadata": []}, TYPE, "metadata"),
    ({"metadata": {str(n): "v" for n in range(17)}}, VALUE, "metadata"),
    ({"metadata": {"k" * 65: "v"}}, VALUE, "metadata." + "k" * 60 + "…"),
    ({"metadata": {"k": "v" * 513}}, VALUE, "metadata.k"),
    ({"metadata": {"k": 1}}, TYPE, "metadata.k"),
    ({"reasoning": "high"}, TYPE, "reasoning"),
    ({"reasoning": {"effort": "extreme"}}, VALUE, "reasoning.effort"),
    ({"reasoning": {"summary": "long"}}, VALUE, "reasoning.summary"),
    ({"reasoning": {"efort": "low"}}, UNKNOWN, "reasoning.efort"),
    ({"text": "json"}, TYPE, "text"),
    ({"text": {"verbosity": "chatty"}}, VALUE, "text.verbosity"),
    ({"text": {"formats": {}}}, UNKNOWN, "text.formats"),
    ({"text": {"format": "json_object"}}, TYPE, "text.format"),
    ({"text": {"format": {}}}, MISSING, "text.format.type"),
    ({"text": {"format": {"type": "xml"}}}, VALUE, "text.format.type"),
    (schema_format(name=GONE), MISSING, "text.format.name"),
    (schema_format(name="an answer"), VALUE, "text.format.name"),
    (schema_format(schema=GONE), MISSING, "text.format.schema"),
    (schema_format(schema="{}"), TYPE, "text.format.schema"),
    (schema_format(schema=None), TYPE, "text.format.schema"),
    (schema_format(strict=1), TYPE, "text.format.strict"),
    (schema_format(schema_={}), UNKNOWN, "text.format.schema_"),
]
