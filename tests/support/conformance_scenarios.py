"""The scenarios of the conformance tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.support.fake_upstream import Script, Upstream, calls

Json = dict[str, Any]
# 8 by 8 pixels, red.
IMAGE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEklEQVR42mP4z8CAFWEXHbQSACj/P8Fu7N9hAAAAAElF"
    "TkSuQmCC"
)
FILE = "data:application/pdf;base64,JVBERi0xLjEKdHJhaWxlcgo8PCAvUm9vdCAxIDAgUiA+PgolJUVPRg=="
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather for a location",
    "parameters": {
        "type": "object",
        "properties": {"location": {"type": "string", "description": "The city, e.g. San Francisco"}},
        "required": ["location"],
        "additionalProperties": False,
    },
    "strict": True,
}
ANSWER = {
    "type": "object",
    "properties": {"capital": {"type": "string", "maxLength": 12}},
    "required": ["capital"],
    "additionalProperties": False,
}


def message(role: str, content: Any) -> Json:
    return {"type": "message", "role": role, "content": content}


@dataclass(frozen=True)
class Scenario:
    """A request, and what its answer must hold. `literal`, `calls`: what the scripted upstream answers to the last
    message; `seen`: what of the request must reach it."""

    body: Json
    outputs: tuple[str, ...] = ("message",)
    status: str = "completed"
    literal: str | None = None
    calls: Json | None = None
    seen: tuple[str, ...] = ()
    real: bool = True
    contains: str = ""


SCENARIOS: dict[str, Scenario] = {
    "basic-response": Scenario({"input": [message("user", "Say hello in exactly 3 words.")]}),
    "string-input": Scenario({"input": "Say hi."}),
    "system-prompt": Scenario(
        {"input": [message("system", "You are a pirate."), message("user", "Say hello.")]}, seen=("You are a pirate.",)
    ),
    "developer-prompt": Scenario(
        {"input": [message("developer", "Be a poet."), message("user", "Say good day.")]}, seen=("Be a poet.",)
    ),
    "instructions": Scenario({"instructions": "Be brief.", "input": "Say good night."}, seen=("Be brief.",)),
    "tool-calling": Scenario(
        {"input": [message("user", "What's the weather like in Oslo?")], "tools": [WEATHER], "tool_choice": "required"},
        outputs=("function_call",),
        calls={"location": "Oslo"},
        contains="location",
        # llama.cpp offers this model no tools.
        real=False,
    ),
    "function-call-output": Scenario(
        {
            "input": [
                message("user", "What's the weather like in Rome?"),
                {
                    "type": "function_call",
                    "call_id": "call_1",
                    "name": "get_weather",
                    "arguments": '{"location":"Rome"}',
                },
                {"type": "function_call_output", "call_id": "call_1", "output": "31 C, sunny"},
            ],
            "tools": [WEATHER],
        },
        seen=("31 C, sunny",),
        literal="It is sunny.",
        real=False,
    ),
    "image-input": Scenario(
        {
            "input": [
                message(
                    "user",
                    [
                        {"type": "input_text", "text": "What do you see in this image?"},
                        {"type": "input_image", "image_url": IMAGE},
                    ],
                )
            ]
        },
        seen=(IMAGE,),
        real=False,
    ),
    "file-input": Scenario(
        {
            "input": [
                message(
                    "user",
                    [
                        {"type": "input_text", "text": "Read the attached file."},
                        {"type": "input_file", "filename": "fixture.pdf", "file_data": FILE},
                    ],
                )
            ]
        },
        seen=("fixture.pdf",),
        real=False,
    ),
    "multi-turn": Scenario(
        {
            "input": [
                message("user", "My name is Alice."),
                message("assistant", "Hello Alice!"),
                message("user", "What is my name?"),
            ]
        },
        seen=("My name is Alice.", "Hello Alice!"),
    ),
    "structured-output": Scenario(
        {
            "input": "The capital of Italy, as JSON.",
            "text": {"format": {"type": "json_schema", "name": "capital", "schema": ANSWER, "strict": True}},
        },
        literal='{"capital":"Rome"}',
        contains='"capital"',
    ),
    "json-object": Scenario(
        {"input": "Any JSON object.", "text": {"format": {"type": "json_object"}}}, literal='{"a": 1}', real=False
    ),
    "max-output-tokens": Scenario({"input": "Count to a thousand.", "max_output_tokens": 16}, status="incomplete"),
    "not-stored": Scenario({"input": "Forget this.", "store": False}),
    "sampling-settings": Scenario(
        {"input": "Say a number.", "temperature": 0.2, "top_p": 0.9, "presence_penalty": 0.1, "frequency_penalty": 0.1}
    ),
    "metadata": Scenario(
        {"input": "Keep these.", "metadata": {"k" * 64: "v" * 512, **{str(n): "" for n in range(15)}}}, real=False
    ),
    "nulls": Scenario({"input": "Nulls.", **dict.fromkeys(("tools", "text", "metadata", "temperature"))}, real=False),
}
ECHOED: list[tuple[Json, Json]] = [
    ({}, {"temperature": 1.0, "top_p": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "top_logprobs": 0}),
    ({}, {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True, "truncation": "disabled", "store": True}),
    ({}, {"text": {"format": {"type": "text"}}, "metadata": {}, "background": False, "service_tier": "default"}),
    ({}, {"instructions": None, "max_output_tokens": None, "max_tool_calls": None, "reasoning": None, "error": None}),
    ({"temperature": 0, "top_p": 0.5}, {"temperature": 0, "top_p": 0.5}),
    ({"presence_penalty": -1, "frequency_penalty": 2}, {"presence_penalty": -1, "frequency_penalty": 2}),
    ({"max_output_tokens": 100, "max_tool_calls": 3}, {"max_output_tokens": 100, "max_tool_calls": 3}),
    ({"parallel_tool_calls": False}, {"parallel_tool_calls": False}),
    ({"truncation": "auto"}, {"truncation": "auto"}),
    ({"instructions": "Be brief."}, {"instructions": "Be brief."}),
    ({"tools": [WEATHER]}, {"tools": [WEATHER]}),
    (
        {"tools": [WEATHER], "tool_choice": {"type": "function", "name": "get_weather"}},
        {"tool_choice": {"type": "function", "name": "get_weather"}},
    ),
    ({"reasoning": {"effort": "high", "summary": "auto"}}, {"reasoning": {"effort": "high", "summary": "auto"}}),
    ({"text": {"verbosity": "low"}}, {"text": {"format": {"type": "text"}, "verbosity": "low"}}),
    ({"safety_identifier": "s", "prompt_cache_key": "p"}, {"safety_identifier": "s", "prompt_cache_key": "p"}),
    ({"service_tier": "flex"}, {"service_tier": "flex"}),
    ({"service_tier": "auto"}, {"service_tier": "default"}),
    ({"top_logprobs": 2}, {"top_logprobs": 2}),
    ({"store": False}, {"store": False}),
]


def prepared(upstream: Upstream, scenario: Scenario) -> None:
    """Have the scripted upstream answer as the scenario wants it."""
    given = scenario.body["input"]
    last = given if isinstance(given, str) else [item for item in given if item.get("role") == "user"][-1]["content"]
    prompt = last if isinstance(last, str) else last[0]["text"]
    made = Script(words=4)
    if scenario.literal is not None:
        made = Script(literal=scenario.literal)
    elif scenario.calls is not None:
        made = calls(("call_7", "get_weather", scenario.calls))
    elif scenario.status == "incomplete":
        made = Script(words=16, finish="length")
    upstream.says(prompt, made)
