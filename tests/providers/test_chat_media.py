"""What chat servers send beside the text: generated images, and the pages that an answer cites."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from open_responses.testing.delta_checks import check_stream
from tests.support.provider_wire import Answer, outputs_of
from tests.support.vendor_streams import chat_chunk, read, stream_of

Json = dict[str, Any]
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,aW1hZ2U="}, "index": 0}
ONE, TWO = "https://one.example/", "https://two.example/"


async def items_of(http: httpx.AsyncClient, *chunks: Json) -> list[Json]:
    deltas = await read(http, "openai-chat", stream_of("openai-chat", *chunks, done=True))
    check_stream(deltas)
    return outputs_of(deltas)


@pytest.mark.parametrize(
    "chunks",
    [
        [chat_chunk({"content": "", "images": [IMAGE]})],
        [chat_chunk({"images": [IMAGE]}), chat_chunk({"images": [IMAGE]})],
        [chat_chunk({"content": [IMAGE]})],
        [{"choices": [{"index": 0, "message": {"content": None, "images": [IMAGE]}}]}],
        [chat_chunk({"images": [{"type": "image_url", "image_url": IMAGE["image_url"]["url"]}]})],
    ],
    ids=["openrouter", "repeated", "in the content", "in a message", "plain address"],
)
async def test_a_generated_image_is_an_item(http: httpx.AsyncClient, chunks: list[Json]) -> None:
    (item,) = await items_of(http, *chunks, chat_chunk(finish="stop"))
    assert {name: item[name] for name in ("type", "status", "result", "output_format")} == {
        "type": "image_generation_call",
        "status": "completed",
        "result": "aW1hZ2U=",
        "output_format": "jpeg",
    }


async def test_text_and_images_keep_their_order(http: httpx.AsyncClient) -> None:
    items = await items_of(
        http,
        chat_chunk({"content": "Look:"}),
        chat_chunk({"images": [IMAGE]}),
        chat_chunk({"content": "A gull."}, "stop"),
    )
    assert [item["type"] for item in items] == ["message", "image_generation_call", "message"]


async def test_an_image_of_a_whole_answer_is_an_item(http: httpx.AsyncClient) -> None:
    whole = {"choices": [{"message": {"content": "", "images": [IMAGE]}}]}
    items = outputs_of(await read(http, "openai-chat", Answer(json.dumps(whole).encode())))
    assert [(item["type"], item["result"]) for item in items] == [("image_generation_call", "aW1hZ2U=")]


async def test_an_image_with_an_address_alone_is_a_link(http: httpx.AsyncClient) -> None:
    (item,) = await items_of(
        http, chat_chunk({"images": [{"image_url": {"url": "https://img.example/a.png"}}]}), chat_chunk(finish="stop")
    )
    assert item["content"][0]["text"] == "![image](https://img.example/a.png)"


def cited_by(item: Json) -> list[tuple[str, str, str]]:
    """(text, address, title) of each citation."""
    part = item["content"][0]
    return [
        (part["text"][cited["start_index"] : cited["end_index"]], cited["url"], cited["title"])
        for cited in part["annotations"]
    ]


TEXT = [chat_chunk({"content": "Gulls eat [2]"}), chat_chunk({"content": " fish [1][2]."})]
EXPECTED = [("[2]", TWO, ""), ("[1]", ONE, ""), ("[2]", TWO, "")]


async def test_pages_that_a_text_marks_are_cited_at_the_marks(http: httpx.AsyncClient) -> None:
    (item,) = await items_of(http, *TEXT, chat_chunk(finish="stop", citations=[ONE, TWO]))
    assert cited_by(item) == EXPECTED


async def test_pages_that_each_chunk_repeats_are_cited_once(http: httpx.AsyncClient) -> None:
    pages = {"citations": [ONE, TWO], "search_results": [{"title": "One", "url": ONE}, {"title": "Two", "url": TWO}]}
    chunks = [{**chunk, **pages} for chunk in (*TEXT, chat_chunk(finish="stop"))]
    (item,) = await items_of(http, *chunks)
    assert cited_by(item) == [("[2]", TWO, "Two"), ("[1]", ONE, "One"), ("[2]", TWO, "Two")]


async def test_a_page_without_a_mark_is_cited_at_the_end(http: httpx.AsyncClient) -> None:
    (item,) = await items_of(http, chat_chunk({"content": "Gulls."}), chat_chunk(finish="stop", citations=[ONE]))
    assert cited_by(item) == [("", ONE, "")]
    assert item["content"][0]["annotations"][0]["start_index"] == len("Gulls.")


async def test_what_is_no_page_is_left_out(http: httpx.AsyncClient) -> None:
    odd = [None, 3, "page 4", {"title": "x"}, {"url": "javascript:1"}]
    (item,) = await items_of(http, chat_chunk({"content": "Gulls."}), chat_chunk(finish="stop", citations=odd))
    assert item["content"][0]["annotations"] == []


async def test_pages_of_an_answer_without_text_open_no_message(http: httpx.AsyncClient) -> None:
    calls = [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]
    items = await items_of(http, chat_chunk({"tool_calls": calls}), chat_chunk(finish="stop", citations=[ONE]))
    assert [item["type"] for item in items] == ["function_call"]
