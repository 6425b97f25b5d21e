"""The request of the `gemini` adapter: settings, contents, and the form of the answer."""

from __future__ import annotations

import base64
from itertools import pairwise

import httpx
import pytest

from activities.providers.gemini import Gemini
from open_responses.errors import InvalidRequest
from open_responses.json_types import JsonObject
from tests.support.gemini_chunks import GEMINI_2_5, GEMINI_3, HELLO, chunk, contents_of, function_call, sent_by, user
from tests.support.provider_wire import CLOCK, WEATHER, Wire, call, made_call, output_of, outputs_of, sampled, sse

# --- the request


async def test_the_key_travels_in_a_header_and_the_requests_own_goes_first(http: httpx.AsyncClient) -> None:
    async with Wire(HELLO) as wire:
        adapter = Gemini(wire.provider("gemini"), http, "configured-key")
        await sampled(adapter, call("hello", model=GEMINI_3))
        await sampled(adapter, call("hello", model="tunedModels/mine", api_key="own-key"))
        await sampled(Gemini(wire.provider("gemini"), http, None), call("hello", model="odd?name"))
    assert [request.headers.get("x-goog-api-key") for request in wire.requests] == ["configured-key", "own-key", None]
    assert [request.path for request in wire.requests] == [
        f"/v1beta/models/{GEMINI_3}:streamGenerateContent?alt=sse",
        "/v1beta/tunedModels/mine:streamGenerateContent?alt=sse",
        "/v1beta/models/odd%3Fname:streamGenerateContent?alt=sse",
    ]
    assert "key" not in repr(adapter)


async def test_what_the_client_did_not_set_is_not_sent(http: httpx.AsyncClient) -> None:
    sent = await sent_by(http, call("hello", model=GEMINI_3))
    assert sent == {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}


async def test_settings_have_googles_names(http: httpx.AsyncClient) -> None:
    asked = call(
        "hello",
        model=GEMINI_3,
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        max_output_tokens=100,
        stop=["END"],
        seed=2**32 - 1,
        presence_penalty=1,
        frequency_penalty=-1,
        top_logprobs=3,
        service_tier="flex",
    )
    sent = await sent_by(http, asked)
    assert sent["generationConfig"] == {
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 40,
        "maxOutputTokens": 100,
        "stopSequences": ["END"],
        "seed": 2**31 - 1,
        "presencePenalty": 1,
        "frequencyPenalty": -1,
        "responseLogprobs": True,
        "logprobs": 3,
    }
    assert sent["serviceTier"] == "flex"


async def test_logprobs_alone_are_asked_for_by_include(http: httpx.AsyncClient) -> None:
    sent = await sent_by(http, call("hello", include=["message.output_text.logprobs"]))
    assert sent["generationConfig"] == {"responseLogprobs": True}


async def test_instructions_and_leading_system_messages_are_the_system_instruction(http: httpx.AsyncClient) -> None:
    items = [{"role": "developer", "content": "Rhyme."}, {"role": "system", "content": "Be kind."}, user("hi")]
    sent = await sent_by(http, call(items, model=GEMINI_3, instructions="Be brief.", text={"verbosity": "low"}))
    *given, verbosity = [part["text"] for part in sent["systemInstruction"]["parts"]]
    assert given == ["Be brief.", "Rhyme.", "Be kind."]
    assert "short" in verbosity
    assert sent["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]


async def test_a_system_message_in_the_middle_stays_in_its_place(http: httpx.AsyncClient) -> None:
    items = [
        user("hi"),
        {"role": "assistant", "content": "ho"},
        {"role": "system", "content": "Now rhyme."},
        user("go"),
    ]
    sent = await sent_by(http, call(items, model=GEMINI_3))
    assert "systemInstruction" not in sent
    assert sent["contents"][2] == {
        "role": "user",
        "parts": [{"text": "<system_message>\nNow rhyme.\n</system_message>"}, {"text": "go"}],
    }


async def test_consecutive_roles_are_one_turn(http: httpx.AsyncClient) -> None:
    said = [
        {"type": "output_text", "text": "c"},
        {"type": "refusal", "refusal": "d"},
        {"type": "output_text", "text": ""},
    ]
    items = [user("a"), user("b"), {"role": "assistant", "content": said}, {"role": "assistant", "content": "e"}]
    assert await contents_of(http, [*items, user("")]) == [
        {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]},
        {"role": "model", "parts": [{"text": "c"}, {"text": "d"}, {"text": "e"}]},
    ]


@pytest.mark.parametrize(
    ("items", "roles"),
    [
        ([{"role": "assistant", "content": "Welcome."}, user("hi")], ["user", "model", "user"]),
        ([made_call("a"), output_of("a")], ["user", "model", "user"]),
        ([{"role": "developer", "content": "Begin."}], ["user"]),
        ([user("")], ["user"]),
    ],
)
async def test_contents_begin_with_a_users_turn(
    http: httpx.AsyncClient, items: list[JsonObject], roles: list[str]
) -> None:
    assert [turn["role"] for turn in await contents_of(http, items)] == roles


async def test_each_turns_answers_stand_together_behind_it_wherever_the_outputs_were(http: httpx.AsyncClient) -> None:
    items = [user("q"), made_call("a"), made_call("b"), user("hurry"), output_of("b", "2"), output_of("a", "1")]
    turns = await contents_of(http, items)
    assert [turn["role"] for turn in turns] == ["user", "model", "user"]
    answers = [part["functionResponse"]["response"]["output"] for part in turns[2]["parts"][:2]]
    assert (answers, turns[2]["parts"][2]) == (["1", "2"], {"text": "hurry"})


async def test_an_id_that_is_used_again_finds_the_output_behind_it(http: httpx.AsyncClient) -> None:
    items = [user("q"), made_call("a"), output_of("a", "1"), made_call("a"), output_of("a", "2")]
    turns = await contents_of(http, items)
    outputs = [
        p["functionResponse"]["response"]["output"] for t in turns for p in t["parts"] if "functionResponse" in p
    ]
    assert outputs == ["1", "2"]


@pytest.mark.parametrize(
    ("items", "param", "code"),
    [
        ([user("q"), made_call("a")], "input[1]", "missing_tool_output"),
        ([user("q"), output_of("a")], "input[1].call_id", "unknown_tool_call"),
        ([user("q"), {"type": "compaction", "encrypted_content": "x"}], "input[1]", "unsupported_item"),
        ([user("q"), {"type": "computer_call"}], "input[1]", "unsupported_item"),
        ([user([{"type": "input_image", "file_id": "f"}])], "input[0].content[0]", "unsupported_content"),
        ([user([{"type": "input_file", "file_id": "f"}])], "input[0].content[0]", "unsupported_content"),
        ([user([{"type": "input_file", "file_data": "/wD/"}])], "input[0].content[0]", "unsupported_content"),
        ([user([{"type": "input_image", "image_url": "data:image/png"}])], "input[0].content[0]", "invalid_value"),
    ],
)
async def test_what_gemini_cannot_take_is_refused_before_the_call(
    http: httpx.AsyncClient, items: list[JsonObject], param: str, code: str
) -> None:
    async with Wire(HELLO) as wire:
        with pytest.raises(InvalidRequest) as refused:
            await sampled(Gemini(wire.provider("gemini"), http, "key"), call(items, model=GEMINI_3))
    assert (refused.value.param, refused.value.error_code) == (param, code)
    assert wire.requests == []


@pytest.mark.parametrize("kind", ["web_search_call", "server_tool_use", "image_generation_call", "open_responses:note"])
async def test_what_other_providers_tools_left_is_left_out(http: httpx.AsyncClient, kind: str) -> None:
    contents = await contents_of(http, [user("a"), {"type": kind, "id": "x", "result": "aW1n"}, user("b")])
    assert contents == [{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}]


@pytest.mark.parametrize("written", ['{"city": "Kö', "[1]", "null"])
async def test_broken_arguments_go_back_as_the_model_wrote_them(http: httpx.AsyncClient, written: str) -> None:
    turns = await contents_of(http, [user("q"), made_call("a", arguments=written), output_of("a")])
    assert turns[1]["parts"][0]["functionCall"]["args"] == {"invalid_json": written}


PDF = base64.b64encode(b"%PDF-1.7 x").decode()
NOTE = base64.b64encode("grün".encode()).decode()


@pytest.mark.parametrize(
    ("part", "sent"),
    [
        (
            {"type": "input_image", "image_url": "data:image/png;base64,aW1n", "detail": "high"},
            {"inlineData": {"mimeType": "image/png", "data": "aW1n"}},
        ),
        (
            {"type": "input_image", "image_url": "https://x.example/a.JPG?w=1"},
            {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://x.example/a.JPG?w=1"}},
        ),
        (
            {"type": "input_image", "image_url": "https://x.example/a"},
            {"fileData": {"fileUri": "https://x.example/a"}},
        ),
        (
            {"type": "input_file", "file_data": f"data:application/pdf;base64,{PDF}"},
            {"inlineData": {"mimeType": "application/pdf", "data": PDF}},
        ),
        ({"type": "input_file", "file_data": PDF}, {"inlineData": {"mimeType": "application/pdf", "data": PDF}}),
        (
            {"type": "input_file", "file_url": "https://x.example/a.pdf"},
            {"fileData": {"mimeType": "application/pdf", "fileUri": "https://x.example/a.pdf"}},
        ),
        ({"type": "input_file", "file_data": NOTE}, {"inlineData": {"mimeType": "text/plain", "data": NOTE}}),
        (
            {"type": "input_file", "file_data": NOTE, "filename": "notes.md"},
            {"inlineData": {"mimeType": "text/plain", "data": NOTE}},
        ),
        (
            {"type": "input_file", "file_data": "data:application/json,%7B%7D"},
            {"inlineData": {"mimeType": "text/plain", "data": "e30="}},
        ),
        (
            {"type": "input_file", "file_data": f"data:application/octet-stream;base64,{PDF}"},
            {"inlineData": {"mimeType": "application/pdf", "data": PDF}},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "c25k", "format": "mp3"}},
            {"inlineData": {"mimeType": "audio/mp3", "data": "c25k"}},
        ),
    ],
)
async def test_images_files_and_sound_are_parts(http: httpx.AsyncClient, part: JsonObject, sent: JsonObject) -> None:
    contents = await contents_of(http, [user([{"type": "input_text", "text": "see"}, part])])
    assert contents == [{"role": "user", "parts": [{"text": "see"}, sent]}]


TOOL_MEDIA = [
    {"type": "input_text", "text": "a map"},
    {"type": "input_image", "image_url": "data:image/png;base64,aW1n"},
    {"type": "input_file", "file_url": "https://x.example/a.pdf"},
]


async def test_media_of_a_tool_are_inside_its_answer_on_gemini_3_where_they_may(http: httpx.AsyncClient) -> None:
    turns = await contents_of(http, [user("q"), made_call("a"), output_of("a", TOOL_MEDIA)])
    answer = turns[2]["parts"][0]["functionResponse"]
    assert answer["response"] == {"output": "a map"}
    assert answer["parts"] == [{"inlineData": {"mimeType": "image/png", "data": "aW1n"}}]
    assert turns[2]["parts"][1:] == [
        {"text": "Returned by get_weather:"},
        {"fileData": {"mimeType": "application/pdf", "fileUri": "https://x.example/a.pdf"}},
    ]


async def test_media_of_a_tool_are_behind_all_answers_on_older_models(http: httpx.AsyncClient) -> None:
    items = [user("q"), made_call("a"), made_call("b", name="get_time"), output_of("a", TOOL_MEDIA[1:]), output_of("b")]
    turns = await contents_of(http, items, GEMINI_2_5)
    kinds = [next(iter(part)) for part in turns[2]["parts"]]
    assert kinds == ["functionResponse", "functionResponse", "text", "inlineData", "fileData"]
    assert "attached" in turns[2]["parts"][0]["functionResponse"]["response"]["output"]


async def test_the_prefix_of_each_request_is_the_one_before_byte_for_byte(http: httpx.AsyncClient) -> None:
    first = sse(chunk(function_call("get_weather", {"city": "ä"}, thoughtSignature="c2ln"), finish="STOP"))
    settings: JsonObject = {"model": GEMINI_3, "instructions": "Be brief.", "tools": [WEATHER, CLOCK]}
    async with Wire(first, HELLO) as wire:
        adapter = Gemini(wire.provider("gemini"), http, "key")
        items = outputs_of(await sampled(adapter, call([user("hi")], **settings)))
        history = [user("hi"), *items, output_of(items[-1]["call_id"])]
        history += outputs_of(await sampled(adapter, call(history, **settings)))
        await sampled(adapter, call([*history, {"role": "system", "content": "x"}, user("more")], **settings))
    bodies = [request.body for request in wire.requests]
    for earlier, later in pairwise(bodies):
        assert later.startswith(earlier.removesuffix(b"]}"))


# --- the form of the answer


SCHEMA_FORMAT = {
    "format": {
        "type": "json_schema",
        "name": "point",
        "description": "A place",
        "schema": {"type": "object", "properties": {"kind": {"const": "p"}}, "required": ["kind"]},
    }
}
NATIVE = {
    "type": "object",
    "properties": {"kind": {"type": "string", "enum": ["p"]}},
    "required": ["kind"],
    "description": "A place",
}


@pytest.mark.parametrize(("model", "tools"), [(GEMINI_2_5, []), (GEMINI_3, []), (GEMINI_3, [CLOCK])])
async def test_a_schema_for_the_answer_is_native(http: httpx.AsyncClient, model: str, tools: list[JsonObject]) -> None:
    sent = await sent_by(http, call("hi", model=model, tools=tools, text=SCHEMA_FORMAT))
    assert sent["generationConfig"] == {"responseMimeType": "application/json", "responseJsonSchema": NATIVE}
    assert "systemInstruction" not in sent


async def test_a_json_object_is_asked_for_by_its_type_alone(http: httpx.AsyncClient) -> None:
    sent = await sent_by(http, call("hi", model=GEMINI_2_5, text={"format": {"type": "json_object"}}))
    assert sent["generationConfig"] == {"responseMimeType": "application/json"}


async def test_beside_tools_the_form_is_said_in_words_before_gemini_3(http: httpx.AsyncClient) -> None:
    sent = await sent_by(http, call("hi", model=GEMINI_2_5, tools=[CLOCK], text=SCHEMA_FORMAT))
    assert "generationConfig" not in sent
    assert '"const": "p"' in sent["systemInstruction"]["parts"][-1]["text"]


async def test_a_forced_call_has_no_form_of_text_beside_it(http: httpx.AsyncClient) -> None:
    sent = await sent_by(http, call("hi", model=GEMINI_3, tools=[CLOCK], tool_choice="required", text=SCHEMA_FORMAT))
    assert "generationConfig" not in sent
    assert "systemInstruction" not in sent


@pytest.mark.parametrize(
    ("model", "effort", "thinking"),
    [
        (GEMINI_3, "none", {"thinkingLevel": "minimal"}),
        (GEMINI_3, "minimal", {"thinkingLevel": "minimal"}),
        (GEMINI_3, "medium", {"thinkingLevel": "medium"}),
        (GEMINI_3, "max", {"thinkingLevel": "high"}),
        ("gemini-3-pro-preview", "none", {"thinkingLevel": "low"}),
        ("gemini-3-pro-preview", "medium", {"thinkingLevel": "high"}),
        ("gemini-3.1-pro-preview", "medium", {"thinkingLevel": "medium"}),
        ("gemini-3.5-flash-lite", "minimal", {"thinkingLevel": "minimal"}),
        ("gemini-3.7-flash", "minimal", {"thinkingLevel": "low"}),
        ("gemini-flash-latest", "none", {"thinkingLevel": "low"}),
        (GEMINI_2_5, "none", {"thinkingBudget": 0}),
        (GEMINI_2_5, "low", {"thinkingBudget": 1024}),
        (GEMINI_2_5, "high", {"thinkingBudget": 24_576}),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}),
        ("gemini-2.5-pro", "max", {"thinkingBudget": 32_768}),
    ],
)
async def test_an_effort_is_a_level_or_a_budget(
    http: httpx.AsyncClient, model: str, effort: str, thinking: JsonObject
) -> None:
    sent = await sent_by(http, call("hi", model=model, reasoning={"effort": effort}))
    assert sent["generationConfig"]["thinkingConfig"] == thinking


async def test_thoughts_are_shown_where_a_summary_is_asked_for_and_there_are_any(http: httpx.AsyncClient) -> None:
    shown = await sent_by(http, call("hi", model=GEMINI_2_5, reasoning={"summary": "auto"}))
    assert shown["generationConfig"]["thinkingConfig"] == {"includeThoughts": True}
    silent = await sent_by(http, call("hi", model=GEMINI_2_5, reasoning={"summary": "auto", "effort": "none"}))
    assert silent["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 0}


async def test_an_answer_is_continued_only_where_the_configuration_says_so(http: httpx.AsyncClient) -> None:
    asked = call("hi", model=GEMINI_2_5, prefix="Once upon")
    async with Wire(HELLO) as wire:
        assert Gemini(wire.provider("gemini"), http, "key").resume_of(asked) == "none"
        adapter = Gemini(wire.provider("gemini", resume="prefill"), http, "key")
        assert adapter.resume_of(asked) == "prefill"
        await sampled(adapter, asked)
    assert wire.requests[0].json["contents"][-1] == {"role": "model", "parts": [{"text": "Once upon"}]}
