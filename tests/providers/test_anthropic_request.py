"""The request of the `anthropic` adapter: settings, the form of the answer, thinking, and the names of models."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from activities.providers.anthropic import Anthropic
from activities.providers.anthropic.models import Model
from tests.support.anthropic_events import (
    FABLE_5_1,
    HAIKU_4_5,
    HELLO,
    KEY,
    OPUS_4_6,
    OPUS_5,
    OPUS_5_5,
    SCHEMA,
    SONNET_4_5,
    SONNET_5_5,
    TREE,
    WEATHER,
    asked,
    bare,
    called,
    refused,
    said,
    user,
    wants,
)
from tests.support.provider_wire import Wire, call, output_of, sampled

# --- the request


async def test_a_request_holds_what_was_set_and_no_more(http: httpx.AsyncClient) -> None:
    async with Wire(HELLO) as wire:
        await sampled(Anthropic(wire.provider("anthropic", path="/api"), http, "secret"), call("hi", model=SONNET_4_5))
    (request,) = wire.requests
    assert (request.method, request.path) == ("POST", "/api/v1/messages")
    assert request.headers["x-api-key"] == "secret"
    assert request.headers["anthropic-version"] == "2023-06-01"
    assert not {"authorization", "anthropic-beta"} & request.headers.keys()
    assert bare(request.json) == {
        "model": SONNET_4_5,
        "max_tokens": 64_000,
        "stream": True,
        "messages": [user(said("hi"))],
    }


async def test_the_requests_own_key_goes_before_the_configured_one(http: httpx.AsyncClient) -> None:
    async with Wire(HELLO) as wire:
        await sampled(Anthropic(wire.provider("anthropic"), http, "configured"), call(api_key="own"))
    assert wire.requests[0].headers["x-api-key"] == "own"


async def test_settings_are_translated(http: httpx.AsyncClient) -> None:
    body = await asked(
        http,
        call(
            model=SONNET_4_5,
            max_output_tokens=100,
            temperature=0.5,
            top_p=0.9,
            top_k=5,
            stop=["END", "STOP"],
            safety_identifier="u-1",
            service_tier="default",
            text={"verbosity": "low"},
        ),
    )
    assert body["max_tokens"] == 100
    assert (body["temperature"], body["top_p"], body["top_k"]) == (0.5, 0.9, 5)
    assert body["stop_sequences"] == ["END", "STOP"]
    assert body["metadata"] == {"user_id": "u-1"}
    assert body["service_tier"] == "standard_only"
    assert bare(body["system"]) == [said("Keep your answer short.")]


@pytest.mark.parametrize(
    ("model", "limit"),
    [
        ("claude-3-haiku-20240307", 4096),
        ("claude-3-5-sonnet-20241022", 8192),
        ("claude-3-7-sonnet-latest", 64_000),
        ("claude-opus-4-20250514", 32_000),
        ("claude-opus-4-1-20250805", 32_000),
        (HAIKU_4_5, 64_000),
        ("anthropic.claude-opus-4-6-v1", 128_000),
        ("claude-mythos-preview", 128_000),
        (OPUS_5_5, 128_000),
        ("glm-4.6", 32_768),
    ],
)
async def test_the_models_own_limit_is_the_default_for_max_tokens(
    http: httpx.AsyncClient, model: str, limit: int
) -> None:
    assert (await asked(http, call(model=model)))["max_tokens"] == limit


async def test_more_tokens_than_the_model_has_are_cut_to_what_it_has(http: httpx.AsyncClient) -> None:
    assert (await asked(http, call(model=HAIKU_4_5, max_output_tokens=200_000)))["max_tokens"] == 64_000


async def test_neutral_sampling_settings_are_left_out_where_others_are_refused(http: httpx.AsyncClient) -> None:
    body = await asked(http, call(model=OPUS_5_5, temperature=1, top_p=1))
    assert not {"temperature", "top_p"} & body.keys()


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        ({"model": SONNET_4_5, "temperature": 1.5}, "temperature"),
        ({"model": "claude-opus-4-7", "temperature": 0.2}, "temperature"),
        ({"model": OPUS_5_5, "top_p": 0.5}, "top_p"),
        ({"model": FABLE_5_1, "top_k": 3}, "top_k"),
        ({"model": SONNET_4_5, "temperature": 0.2, "reasoning": {"effort": "low"}}, "temperature"),
        ({"model": OPUS_4_6, "top_k": 3, "reasoning": {"effort": "low"}}, "top_k"),
        ({"model": OPUS_4_6, "top_p": 0.5, "reasoning": {"effort": "low"}}, "top_p"),
        ({"model": OPUS_5_5, "reasoning": {"effort": "none"}}, "reasoning.effort"),
        ({"model": OPUS_5_5, "tools": [WEATHER], "tool_choice": "required"}, "tool_choice"),
        (
            {"model": SONNET_5_5, "tools": [WEATHER], "tool_choice": {"type": "function", "name": "weather"}},
            "tool_choice",
        ),
    ],
)
async def test_what_the_model_cannot_do_is_refused_by_name(
    http: httpx.AsyncClient, request_: dict[str, Any], param: str
) -> None:
    assert (await refused(http, call(**request_))).param == param


# --- structured output


async def test_a_schema_goes_in_the_models_own_dialect(http: httpx.AsyncClient) -> None:
    schema = {
        "type": "object",
        "$defs": {"name": {"type": "string", "maxLength": 9, "description": "A name."}},
        "properties": {
            "names": {"type": "array", "items": {"$ref": "#/$defs/name"}, "minItems": 1, "maxItems": 3},
            "kind": {"enum": ["a", "b"]},
            "born": {"oneOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        },
        "required": ["names", "kind", "born"],
    }
    body = await asked(http, call(model=SONNET_4_5, text=wants(schema)))
    assert "system" not in body
    assert body["output_config"]["format"] == {
        "type": "json_schema",
        "schema": {
            "$defs": {"name": {"type": "string", "description": 'A name.\n{"maxLength": 9}'}},
            "type": "object",
            "properties": {
                "names": {
                    "type": "array",
                    "items": {"$ref": "#/$defs/name"},
                    "minItems": 1,
                    "description": '{"maxItems": 3}',
                },
                "kind": {"enum": ["a", "b"]},
                "born": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
            },
            "additionalProperties": False,
            "required": ["names", "kind", "born"],
        },
    }


@pytest.mark.parametrize(
    ("model", "schema"),
    [
        ("claude-opus-4-1", SCHEMA),
        ("glm-4.6", SCHEMA),
        (SONNET_4_5, TREE),
        (SONNET_4_5, {"type": "object", "additionalProperties": {"type": "integer"}}),
        (SONNET_4_5, {"type": "object", "properties": {"any": {}}}),
        (SONNET_4_5, {"type": "object", "properties": {"x": {"$ref": "#/$defs/nowhere"}}}),
    ],
)
async def test_a_schema_that_cannot_be_told_natively_is_said_in_words(
    http: httpx.AsyncClient, model: str, schema: dict[str, Any]
) -> None:
    body = await asked(http, call(model=model, text=wants(schema), instructions="Be kind."))
    assert "output_config" not in body
    assert body["system"][0]["text"] == "Be kind."
    assert json.dumps(schema) in body["system"][1]["text"]


async def test_any_json_object_is_asked_for_in_words(http: httpx.AsyncClient) -> None:
    body = await asked(http, call(model=SONNET_4_5, text={"format": {"type": "json_object"}}))
    assert "JSON object" in body["system"][0]["text"]
    assert "output_config" not in body


# --- thinking


DROPS = {"block_binding": {"prefix_mismatch_behavior": "drop_block"}}


@pytest.mark.parametrize(
    ("model", "reasoning", "thinking_", "effort"),
    [
        (SONNET_4_5, None, None, None),
        (SONNET_4_5, {"effort": "none"}, None, None),
        (SONNET_4_5, {"effort": "minimal"}, {"type": "enabled", "budget_tokens": 1024}, None),
        (SONNET_4_5, {"effort": "high", "summary": "auto"}, {"type": "enabled", "budget_tokens": 16_384}, None),
        ("claude-opus-4-1", {"effort": "max"}, {"type": "enabled", "budget_tokens": 24_000}, None),
        ("claude-3-5-haiku-20241022", {"effort": "high"}, None, None),
        (OPUS_4_6, None, None, None),
        (OPUS_4_6, {"summary": "auto"}, None, None),
        (OPUS_4_6, {"effort": "none"}, None, None),
        (OPUS_4_6, {"effort": "minimal"}, {"type": "adaptive"}, "low"),
        (OPUS_4_6, {"effort": "xhigh"}, {"type": "adaptive"}, "high"),
        ("claude-opus-4-7", {"effort": "xhigh"}, {"type": "adaptive"}, "xhigh"),
        (OPUS_5, None, None, None),
        (OPUS_5, {"summary": "concise"}, {"type": "adaptive", "display": "summarized"}, None),
        (OPUS_5, {"effort": "none"}, {"type": "disabled"}, None),
        (OPUS_5_5, None, {"type": "adaptive", **DROPS}, None),
        (OPUS_5_5, {"effort": "max", "summary": "auto"}, {"type": "adaptive", "display": "summarized", **DROPS}, "max"),
        (SONNET_5_5, {"effort": "none"}, {"type": "between_tools"}, None),
        ("claude-haiku-5-5", {"effort": "none"}, {"type": "disabled"}, None),
        (FABLE_5_1, {"effort": "low"}, {"type": "adaptive", **DROPS}, "low"),
        ("claude-fable-5", {"effort": "low"}, {"type": "adaptive"}, "low"),
        ("glm-4.6", {"effort": "none"}, {"type": "disabled"}, None),
        ("glm-4.6", {"effort": "low"}, {"type": "enabled", "budget_tokens": 2048}, None),
    ],
)
async def test_effort_is_a_budget_or_adaptive_thinking_as_the_model_has_it(
    http: httpx.AsyncClient,
    model: str,
    reasoning: dict[str, Any] | None,
    thinking_: dict[str, Any] | None,
    effort: str | None,
) -> None:
    body = await asked(http, call(model=model, **({"reasoning": reasoning} if reasoning else {})))
    assert body.get("thinking") == thinking_
    assert body.get("output_config", {}).get("effort") == effort


@pytest.mark.parametrize(("limit", "budget"), [(100_000, 16_384), (4000, 3000), (1366, 1024), (1200, None)])
async def test_a_budget_stays_below_max_tokens_or_there_is_none(
    http: httpx.AsyncClient, limit: int, budget: int | None
) -> None:
    body = await asked(http, call(model=SONNET_4_5, max_output_tokens=limit, reasoning={"effort": "high"}))
    assert body.get("thinking", {}).get("budget_tokens") == budget


@pytest.mark.parametrize(
    ("model", "thinking_", "effort"),
    [(SONNET_4_5, None, None), (OPUS_4_6, None, "high"), (OPUS_5, {"type": "disabled"}, "high")],
)
async def test_a_forced_call_goes_before_thinking(
    http: httpx.AsyncClient, model: str, thinking_: dict[str, Any] | None, effort: str | None
) -> None:
    forced = call(model=model, tools=[WEATHER], tool_choice="required", reasoning={"effort": "max"})
    body = await asked(http, forced)
    assert body.get("thinking") == thinking_
    assert body.get("output_config", {}).get("effort") == effort


async def test_betas_are_named_where_a_feature_needs_them(http: httpx.AsyncClient) -> None:
    async with Wire(HELLO) as wire:
        adapter = Anthropic(wire.provider("anthropic"), http, KEY)
        await sampled(adapter, call(model=SONNET_4_5, tools=[WEATHER], reasoning={"effort": "low"}))
        await sampled(adapter, call(model=SONNET_4_5, reasoning={"effort": "low"}))
        await sampled(adapter, call(model=OPUS_5_5))
    assert [request.headers.get("anthropic-beta") for request in wire.requests] == [
        "interleaved-thinking-2025-05-14",
        None,
        "thinking-binding-controls-2026-08-01",
    ]


async def test_a_loop_that_another_provider_began_goes_on_without_a_budget(http: httpx.AsyncClient) -> None:
    items = [{"role": "user", "content": "q"}, called("c"), output_of("c", "rain")]
    body = await asked(http, call(items, model=SONNET_4_5, tools=[WEATHER], reasoning={"effort": "low"}))
    assert "thinking" not in body


# --- names


@pytest.mark.parametrize(
    ("name", "family", "version"),
    [
        ("claude-sonnet-4-20250514", "sonnet", (4, 0)),
        ("claude-opus-4-5-20251101", "opus", (4, 5)),
        ("us.anthropic.claude-opus-4-6-v1", "opus", (4, 6)),
        ("claude-3-5-haiku-latest", "haiku", (3, 5)),
        ("claude-3-opus-20240229", "opus", (3, 0)),
        ("claude-haiku-4.5", "haiku", (4, 5)),
        ("claude-opus-5", "opus", (5, 0)),
        ("claude-fable-5-2", "fable", (5, 2)),
        ("glm-4.6", None, (0, 0)),
    ],
)
def test_a_models_name_tells_its_family_and_version(name: str, family: str | None, version: tuple[int, int]) -> None:
    assert Model.named(name) == Model(family, version)
