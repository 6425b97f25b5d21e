"""A request that uses every field."""

from __future__ import annotations

from typing import Any

from tests.support.bad_bodies import ALLOW_WEATHER, WEATHER

FULL: dict[str, Any] = {
    "model": "smollm2",
    "input": [{"role": "user", "content": [{"type": "input_text", "text": "hi\u0000 😀"}]}],
    "instructions": "Be brief.",
    "previous_response_id": "resp_1",
    "include": ["reasoning.encrypted_content"],
    "tools": [{**WEATHER, "description": None, "strict": True}],
    "tool_choice": {**ALLOW_WEATHER, "mode": "required"},
    "metadata": {"k" * 64: "v" * 512},
    "text": {"format": {"type": "json_schema", "name": "a", "schema": {"type": "object"}}, "verbosity": "low"},
    "temperature": 0.5,
    "top_p": 0.25,
    "presence_penalty": -2.0,
    "frequency_penalty": 2.0,
    "parallel_tool_calls": False,
    "stream": True,
    "stream_options": {"include_obfuscation": False},
    "background": True,
    "max_output_tokens": 16,
    "max_tool_calls": 1,
    "reasoning": {"effort": "high", "summary": "auto"},
    "safety_identifier": "s" * 64,
    "prompt_cache_key": "k" * 64,
    "truncation": "auto",
    "store": True,
    "service_tier": "flex",
    "top_logprobs": 20,
}
