"""Images, sound and files of tools reach each provider as it takes them, and as a line of text where it does not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from open_responses.context.transcript import as_model_reads
from open_responses.models.capabilities import ADAPTERS
from open_responses.models.vendor_limits import LIMITS
from open_responses.schema.content import InputText
from open_responses.tool_use.tool_output import without_parts
from tests.support.odd_mcp_server import PDF, PNG
from tests.support.provider_cells import MODELS, VENDORS, run
from tests.support.provider_cells import http as http
from tests.support.provider_wire import call

IMAGE = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"}
FILE = {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}
SOUND = {"type": "input_audio", "input_audio": {"data": "UklGRiQAAABXQVZF", "format": "wav"}}
TEXT = {"type": "input_text", "text": "look:"}
ASKED = {"type": "message", "role": "user", "content": "draw"}


def made_by(maker: str, *parts: dict[str, Any]) -> list[dict[str, Any]]:
    """The items of a call that returned these parts: of an MCP server, or of a hosted tool or the client."""
    if maker == "mcp":
        call_ = {"type": "mcp_call", "id": "mcp_1", "server_label": "art", "name": "draw", "arguments": "{}"}
        return [{**call_, "output": "look:\n[image]", "output_parts": list(parts), "status": "completed"}]
    made = {"type": "function_call", "call_id": "c1", "name": "draw", "arguments": "{}"}
    return [made, {"type": "function_call_output", "call_id": "c1", "output": list(parts)}]


async def body_of(http: httpx.AsyncClient, vendor: str, *items: Any, model: str | None = None) -> Any:
    """The body that the vendor is sent for these items, by the same steps as in a sample."""
    asked = call([ASKED, *items], model=model or MODELS[vendor])
    read = as_model_reads(asked.items, lambda _, tool: tool)
    requests, _ = await run(http, vendor, replace(asked, items=without_parts(read, vendor)))
    return requests[0].json


def openai(body: Any) -> Any:
    return body["input"][-1]["output"]


def chat(body: Any) -> Any:
    tool, user = body["messages"][-2:]
    return [tool["content"], *user["content"]]


def anthropic(body: Any) -> Any:
    return body["messages"][-1]["content"][0]["content"]


def gemini(body: Any) -> Any:
    answered = body["contents"][-1]["parts"][0]["functionResponse"]
    return [answered["response"]["output"], *answered["parts"]]


def ollama(body: Any) -> Any:
    tool, user = body["messages"][-2:]
    return [tool["content"], *user["images"]]


AS_SENT: dict[str, Any] = {
    "openai": (openai, [TEXT, IMAGE]),
    "openai-chat": (
        chat,
        [
            "look:",
            {"type": "text", "text": "From the output of draw (call {id}):"},
            {"type": "image_url", "image_url": {"url": IMAGE["image_url"], "detail": "auto"}},
        ],
    ),
    "anthropic": (
        anthropic,
        [
            {"type": "text", "text": "look:"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        ],
    ),
    "gemini": (gemini, ["look:", {"inlineData": {"mimeType": "image/png", "data": PNG}}]),
    "ollama": (ollama, ["look:", PNG]),
}


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("maker", ["mcp", "function"])
async def test_an_image_goes_up_as_an_image(http: httpx.AsyncClient, vendor: str, maker: str) -> None:
    read, expected = AS_SENT[vendor]
    body = await body_of(http, vendor, *made_by(maker, TEXT, IMAGE))
    call_id = "mcp_1" if maker == "mcp" else "c1"
    assert read(body) == json.loads(json.dumps(expected).replace("{id}", call_id))
    assert json.dumps(body).count(PNG) == 1


async def test_an_older_gemini_gets_the_image_behind_the_answer(http: httpx.AsyncClient) -> None:
    body = await body_of(http, "gemini", *made_by("mcp", TEXT, IMAGE), model="gemini-2.5-flash")
    answer, said, image = body["contents"][-1]["parts"]
    assert answer["functionResponse"]["response"] == {"output": "look:"}
    assert said == {"text": "Returned by draw:"}
    assert image == {"inlineData": {"mimeType": "image/png", "data": PNG}}


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(("part", "kind", "data"), [(FILE, "file_data", PDF), (SOUND, "audio", "UklGRiQAAABXQVZF")])
async def test_a_file_or_a_sound_goes_up_as_it_is_or_as_a_line_about_it(
    http: httpx.AsyncClient, vendor: str, part: dict[str, Any], kind: str, data: str
) -> None:
    body = json.dumps(await body_of(http, vendor, *made_by("mcp", TEXT, part)))
    takes = kind in ADAPTERS[vendor].output_parts
    assert (data in body) == takes
    assert ("The tool returned a part of kind" in body) != takes


@pytest.mark.parametrize(
    ("vendor", "url"),
    [
        *((vendor, "data:image/svg+xml;base64,PHN2Zy8+") for vendor in VENDORS),
        *((vendor, "data:image/bmp;base64,Qk0=") for vendor in VENDORS),
        ("gemini", "data:image/gif;base64,R0lGODlhAQABAAAAACw="),
        ("ollama", "data:image/gif;base64,R0lGODlhAQABAAAAACw="),
        ("anthropic", IMAGE["image_url"] + "A" * 5_242_880),
    ],
)
async def test_an_image_that_the_vendor_refuses_does_not_take_the_text_beside_it(
    http: httpx.AsyncClient, vendor: str, url: str
) -> None:
    body = json.dumps(await body_of(http, vendor, *made_by("mcp", TEXT, {"type": "input_image", "image_url": url})))
    assert url[-40:] not in body
    assert "look:" in body
    assert "The tool returned a part of kind image" in body


ZIP = {"type": "input_file", "filename": "a.zip", "file_data": "data:application/zip;base64,UEsDBP//"}


@pytest.mark.parametrize("vendor", ["anthropic", "gemini"])
@pytest.mark.parametrize(
    ("file", "takes"),
    [
        (FILE, True),
        ({**FILE, "file_data": PDF}, True),
        ({**FILE, "filename": "a.csv", "file_data": "YSxi"}, True),
        ({**FILE, "filename": None, "file_data": f"data:image/jpeg;base64,{PNG}"}, True),
        (ZIP, False),
        ({**ZIP, "file_data": "UEsDBP//"}, False),
        ({**ZIP, "filename": None, "file_data": "UEsDBP//"}, False),
        ({**FILE, "file_data": "data:application/pdf;base64,not base64!"}, False),
        ({**FILE, "file_data": "data:image/tiff;base64,SUkqAAg="}, False),
    ],
)
async def test_a_file_of_a_tool_that_the_vendor_refuses_does_not_end_the_response(
    http: httpx.AsyncClient, vendor: str, file: dict[str, Any], takes: bool
) -> None:
    body = json.dumps(await body_of(http, vendor, *made_by("function", TEXT, file)))
    assert ("The tool returned a part of kind file" in body) != takes
    assert "look:" in body


async def test_an_image_that_says_it_is_another_is_sent_as_what_it_is(http: httpx.AsyncClient) -> None:
    lying = {**IMAGE, "image_url": f"data:image/bmp;base64,{PNG}"}
    assert anthropic(await body_of(http, "anthropic", *made_by("mcp", TEXT, lying)))[1]["source"]["data"] == PNG


@pytest.mark.parametrize("vendor", [vendor for vendor in VENDORS if LIMITS[vendor].output_data is not None])
def test_the_oldest_pictures_of_many_are_left_out_in_steps(vendor: str) -> None:
    limit = LIMITS[vendor].output_data or 0
    # Ten of them are within the limit.
    picture = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}" + "A" * (limit // 10 - 500)}

    def left_out(turns: int) -> list[bool]:
        items = [item for _ in range(turns) for item in made_by("function", TEXT, picture)]
        outputs = [item.output for item in without_parts(call(items).items, vendor) if item.type.endswith("output")]  # type: ignore[union-attr]
        assert all(output[0].text == "look:" for output in outputs)  # type: ignore[union-attr]
        return [isinstance(output[1], InputText) for output in outputs]

    assert [left_out(turns).count(True) for turns in (1, 10, 11, 14, 16, 20, 21)] == [0, 0, 6, 6, 11, 11, 16]
    # The newest stay.
    assert left_out(16) == [True] * 11 + [False] * 5
