"""What of a request reaches each provider, where no vendor's own tests say so: cells of the table in docs/providers.md.

Each is asked of the adapter over a real socket, and of `capabilities.check_takes`, which refuses before any call.
"""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from open_responses.config import ProviderConfig
from open_responses.deltas import Finish, TextDelta
from open_responses.errors import InvalidRequest
from open_responses.models.capabilities import check_takes
from open_responses.models.omissions import omitted_of
from tests.support.provider_cells import MODELS, VENDORS, run
from tests.support.provider_cells import http as http
from tests.support.provider_wire import call, text_of

PNG, PDF = "iVBORw0KGgo=", "JVBERi0xLjQK"
PARTS: dict[str, tuple[str, dict[str, Any]]] = {
    "image_url": ("https://x.com/a.png", {"type": "input_image", "image_url": "https://x.com/a.png"}),
    "image_data": (PNG, {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}),
    "image_id": ("file-1", {"type": "input_image", "file_id": "file-1"}),
    "file_data": (PDF, {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}),
    "file_url": ("https://x.com/a.pdf", {"type": "input_file", "file_url": "https://x.com/a.pdf"}),
    "file_id": ("file-2", {"type": "input_file", "file_id": "file-2"}),
    "audio": ("UklGRg==", {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}),
}
REFUSED_PARTS = {
    "openai": {"audio"},
    "openai-chat": {"image_id", "file_url"},
    "anthropic": {"image_id", "file_id", "audio"},
    "gemini": {"image_id", "file_id"},
    "ollama": PARTS.keys() - {"image_data"},
}
# A tool's output has no place for a file's id in the user's message behind it.
REFUSED_IN_OUTPUTS = {**REFUSED_PARTS, "openai-chat": {"image_id", "file_url", "file_id"}}
SETTINGS: dict[str, Any] = {
    "stop": ["END"],
    "seed": 7,
    "top_k": 40,
    "presence_penalty": 0.25,
    "frequency_penalty": 0.25,
    "top_logprobs": 3,
}
REFUSED_SETTINGS = {
    "openai": {"stop", "seed", "top_k", "presence_penalty", "frequency_penalty"},
    "openai-chat": set[str](),
    "anthropic": {"seed", "presence_penalty", "frequency_penalty", "top_logprobs"},
    "gemini": set[str](),
    "ollama": set[str](),
}
WEATHER = {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}}


async def sent(http: httpx.AsyncClient, vendor: str, items: Any = "hello", **request: Any) -> str:
    """The request's body, without JSON's escapes."""
    requests, _ = await run(http, vendor, call(items, model=MODELS[vendor], **request))
    return json.dumps(requests[0].json, ensure_ascii=False)


def user(*content: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": list(content)}


def said(text: str) -> dict[str, Any]:
    return {"type": "input_text", "text": text}


@pytest.mark.parametrize("vendor", VENDORS)
async def test_texts_of_a_message_keep_their_order_and_none_is_lost(http: httpx.AsyncClient, vendor: str) -> None:
    body = await sent(http, vendor, [user(said("first."), said("second."), said("third."))])
    places = [body.find(word) for word in ("first.", "second.", "third.")]
    assert places == sorted(places)
    assert -1 not in places


@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("in_output", [False, True])
async def test_a_part_is_taken_or_refused_by_its_place_before_the_call(
    http: httpx.AsyncClient, vendor: str, kind: str, in_output: bool
) -> None:
    sign, part = PARTS[kind]
    items: list[Any] = [user(said("look"), part)]
    if in_output:
        called = {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": "{}"}
        items = [called, {"type": "function_call_output", "call_id": "call_1", "output": [said("look"), part]}]
    asked = call(items, model=MODELS[vendor])
    if kind not in (REFUSED_IN_OUTPUTS if in_output else REFUSED_PARTS)[vendor]:
        check_takes(vendor, "p", asked.request, asked.items)
        requests, _ = await run(http, vendor, asked)
        assert sign in requests[0].body.decode()
        return
    with pytest.raises(InvalidRequest) as refused:
        check_takes(vendor, "p", asked.request, asked.items)
    assert refused.value.param == ("input[1].output[1]" if in_output else "input[0].content[1]")
    assert refused.value.error_code == "unsupported_content"


@pytest.mark.parametrize(
    ("vendor", "part"),
    [
        ("anthropic", {"type": "input_image", "image_url": "data:image/bmp;base64,Qk0="}),
        ("anthropic", {"type": "input_image", "image_url": "data:image/svg+xml,%3Csvg/%3E"}),
        ("anthropic", {"type": "input_file", "filename": "a.zip", "file_data": "UEsDBP//"}),
        ("anthropic", {"type": "input_file", "filename": "a.pdf", "file_data": "not base64!"}),
        ("ollama", {"type": "input_image", "image_url": "data:image/svg+xml,%3Csvg/%3E"}),
        ("ollama", {"type": "input_image", "image_url": "data:image/png;base64,"}),
    ],
)
async def test_data_that_an_adapter_cannot_translate_is_refused_before_the_call(
    http: httpx.AsyncClient, vendor: str, part: dict[str, Any]
) -> None:
    items = [user(said("look"), part)]
    asked = call(items, model=MODELS[vendor])
    with pytest.raises(InvalidRequest) as refused:
        check_takes(vendor, "p", asked.request, asked.items)
    assert (refused.value.param, refused.value.error_code) == ("input[0].content[1]", "unsupported_content")
    with pytest.raises(InvalidRequest) as late:
        await sent(http, vendor, items)
    assert late.value.param == refused.value.param


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_setting_is_passed_on_or_refused_before_the_call(
    http: httpx.AsyncClient, vendor: str, name: str
) -> None:
    asked = call(model=MODELS[vendor], **{name: SETTINGS[name]})
    if name in REFUSED_SETTINGS[vendor]:
        with pytest.raises(InvalidRequest) as refused:
            check_takes(vendor, "p", asked.request, asked.items)
        assert (refused.value.param, refused.value.error_code) == (name, "unsupported_parameter")
        return
    check_takes(vendor, "p", asked.request, asked.items)
    assert json.dumps(SETTINGS[name]) in await sent(http, vendor, **{name: SETTINGS[name]})


NO_WORD_FOR = [
    ("openai-chat", {"prompt_cache_key": "k", "safety_identifier": "s", "service_tier": "flex"}),
    ("openai-chat", {"reasoning": {"summary": "detailed"}}),
    ("anthropic", {"prompt_cache_key": "k", "service_tier": "flex"}),
    ("gemini", {"prompt_cache_key": "k", "safety_identifier": "s", "service_tier": "default"}),
    ("ollama", {"prompt_cache_key": "k", "safety_identifier": "s", "service_tier": "flex"}),
    ("ollama", {"reasoning": {"summary": "detailed"}}),
    ("gemini", {"tools": [WEATHER], "parallel_tool_calls": False}),
    ("ollama", {"tools": [WEATHER], "parallel_tool_calls": False}),
]


@pytest.mark.parametrize(("vendor", "settings"), NO_WORD_FOR)
async def test_what_a_provider_has_no_word_for_changes_nothing(
    http: httpx.AsyncClient, vendor: str, settings: dict[str, Any]
) -> None:
    without = {"tools": settings["tools"]} if "tools" in settings else {}
    assert await sent(http, vendor, **settings) == await sent(http, vendor, **without)


@pytest.mark.parametrize("vendor", VENDORS[1:])
async def test_the_phase_of_an_earlier_answer_is_openais_alone(http: httpx.AsyncClient, vendor: str) -> None:
    answer = {"type": "message", "role": "assistant", "content": "b"}
    ask = [user(said("a")), answer, user(said("c"))]
    with_phase = [ask[0], {**answer, "phase": "commentary"}, ask[2]]
    assert await sent(http, vendor, with_phase) == await sent(http, vendor, ask)


@pytest.mark.parametrize("vendor", VENDORS)
async def test_verbosity_is_native_or_said_in_words(http: httpx.AsyncClient, vendor: str) -> None:
    body = await sent(http, vendor, text={"verbosity": "low"})
    assert ('"verbosity": "low"' if vendor == "openai" else "Keep your answer short.") in body


@pytest.mark.parametrize("vendor", VENDORS)
async def test_strict_is_passed_on_where_the_provider_knows_it(http: httpx.AsyncClient, vendor: str) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    strict = {"type": "function", "name": "f", "parameters": schema, "strict": True}
    sign = {"gemini": "VALIDATED", "ollama": None}.get(vendor, '"strict": true')
    body = await sent(http, vendor, tools=[strict])
    assert sign in body if sign else "strict" not in body


@pytest.mark.parametrize("vendor", VENDORS)
async def test_an_effort_reaches_every_provider(http: httpx.AsyncClient, vendor: str) -> None:
    words = {
        "openai": '"effort": "high"',
        "openai-chat": '"reasoning_effort": "high"',
        "anthropic": '"budget_tokens": 16384',
    }
    words |= {"gemini": '"thinkingLevel": "high"', "ollama": '"think": "high"'}
    assert words[vendor] in await sent(http, vendor, reasoning={"effort": "high"})


@pytest.mark.parametrize(
    ("vendor", "kind", "has"),
    [
        ("openai", "web_search", True),
        ("openai", "google_search", False),
        ("openai-chat", "web_search", False),
        ("anthropic", "web_search_20250305", True),
        ("anthropic", "web_search", False),
        ("gemini", "google_search", True),
        ("gemini", "web_search", False),
        ("ollama", "web_search", False),
    ],
)
def test_a_built_in_tool_is_left_out_where_the_provider_has_it_not(vendor: str, kind: str, has: bool) -> None:
    asked = call(tools=[{"type": kind}])
    provider = ProviderConfig(name="p", adapter=vendor, base_url="http://127.0.0.1")
    check_takes(vendor, "p", asked.request, asked.items)
    assert omitted_of(provider, asked.request, strict_tools=False).tools == ([] if has else [0])
    if has:
        return
    with pytest.raises(InvalidRequest, match="has no built-in tool") as refused:
        omitted_of(provider, asked.request, strict_tools=True)
    assert (refused.value.param, refused.value.error_code) == ("tools[0].type", "unsupported_tool")


@pytest.mark.parametrize("vendor", VENDORS)
async def test_what_another_providers_tools_left_is_left_out(http: httpx.AsyncClient, vendor: str) -> None:
    foreign = "executable_code" if vendor == "openai" else "web_search_call"
    record = {"type": foreign, "id": "ws_1", "status": "completed", "trace": "of-another"}
    body = await sent(http, vendor, [user(said("a")), record, user(said("b"))])
    assert "of-another" not in body


@pytest.mark.parametrize("vendor", [vendor for vendor in VENDORS if vendor != "openai"])
async def test_an_item_that_a_provider_has_not_is_refused_by_its_place(http: httpx.AsyncClient, vendor: str) -> None:
    asked = call([user(said("a")), {"type": "computer_call", "id": "cc_1"}])
    with pytest.raises(InvalidRequest) as refused:
        check_takes(vendor, "p", asked.request, asked.items)
    assert (refused.value.param, refused.value.error_code) == ("input[1]", "unsupported_item")


@pytest.mark.parametrize("vendor", VENDORS)
async def test_an_empty_answer_without_usage_is_an_estimated_finish(http: httpx.AsyncClient, vendor: str) -> None:
    _, deltas = await run(http, vendor, call("x" * 400, model=MODELS[vendor]))
    assert text_of(deltas) == ""
    assert isinstance(deltas[-1], Finish)
    assert deltas[-1].reason == "stop"
    assert deltas[-1].usage.estimated
    assert not [delta for delta in deltas[:-1] if not isinstance(delta, TextDelta)]
