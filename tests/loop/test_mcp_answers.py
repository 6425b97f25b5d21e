"""Pictures, odd lists and changing lists of a real MCP server, inside the loop."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.odd_mcp_server import PDF, PNG
from tests.support.scripts import script, types
from tests.support.stack import check_whole, collect

ODD: dict[str, Any] = {"type": "mcp", "server_label": "odd", "require_approval": "never"}


async def test_a_picture_of_an_mcp_tool_reaches_the_model_as_a_picture(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script(upstream, "draw it", calls(("c", "draws", {})), Script(words=3))
    events = await collect(client, {"input": "draw it", "tools": [ODD]})
    response = check_whole(events, Script(words=3).text)
    _, drawn, _ = response["output"]
    assert (drawn["status"], drawn["error"]) == ("completed", None)
    # The string is for people: it describes the parts, and has none of their data.
    assert drawn["output"].startswith("Here it is.\n[image, image/png, ")
    assert PNG not in drawn["output"]
    kinds = [part["type"] for part in drawn["output_parts"]]
    assert kinds == ["input_text", "input_image", "input_audio", "input_file", *["input_text"] * 5]
    assert drawn["output_parts"][1]["image_url"] == f"data:image/png;base64,{PNG}"
    added = next(e["item"] for e in events if e["type"].endswith("item.added") and e["item"]["type"] == "mcp_call")
    assert "output_parts" not in added

    tool, shown = upstream.requests[-1]["messages"][-2:]
    assert tool["role"] == "tool"
    assert tool["content"].startswith("Here it is.")
    assert "hologram" in tool["content"]
    assert PNG not in tool["content"]
    by_kind = {part["type"]: part for part in shown["content"]}
    assert by_kind["image_url"]["image_url"]["url"] == f"data:image/png;base64,{PNG}"
    assert by_kind["input_audio"]["input_audio"]["format"] == "wav"
    assert by_kind["file"]["file"]["file_data"].endswith(PDF)

    again = {"input": "what was it?", "tools": [ODD]}
    stored = (await client.get(f"/v1/responses/{response['id']}")).json()
    assert stored["output"] == response["output"]
    for body in (
        {**again, "previous_response_id": response["id"]},
        {**again, "input": [*response["output"], {"role": "user", "content": "what was it?"}], "store": False},
    ):
        script(upstream, "what was it?", Script(words=2))
        assert (await collect(client, body))[-1]["response"]["status"] == "completed"
        assert json.dumps(upstream.requests[-1]).count(PNG) == 1


async def test_parts_that_a_client_sends_back_are_checked(client: httpx.AsyncClient, upstream: Upstream) -> None:
    sent = {"type": "mcp_call", "id": "mcp_1", "server_label": "odd", "name": "draws", "arguments": "{}", "output": "x"}
    body = {"model": "fake", "input": [{**sent, "output_parts": [{"type": "input_image"}]}]}
    refused = await client.post("/v1/responses", json=body)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "input[0].output_parts[0].image_url"


async def test_one_odd_tool_takes_none_of_its_siblings_away(client: httpx.AsyncClient, upstream: Upstream) -> None:
    names = ("odd_null", "odd_capitals", "odd_hint", "odd_output", "odd_output_type", "returns_a_list")
    script(upstream, "odd ones", calls(*((f"c{n}", name, {}) for n, name in enumerate(names))), Script(words=2))
    response = (await collect(client, {"input": "odd ones", "tools": [ODD]}))[-1]["response"]
    assert types(response) == ["mcp_list_tools", *["mcp_call"] * len(names), "message"]
    listed = {tool["name"]: tool for tool in response["output"][0]["tools"]}
    assert {
        "odd_array",
        "odd_missing",
        "odd_empty",
        "odd_types",
        "odd_nulls",
        "odd_hints",
        "odd_words",
    } <= listed.keys()
    assert listed["odd_capitals"]["input_schema"]["properties"] == {"a": {"type": "string"}}
    assert listed["odd_types"]["input_schema"]["type"] == "object"
    assert "is left out" in listed["odd_array"]["description"]
    outputs = [item["output"] for item in response["output"][1:-1]]
    assert outputs == [*["fine"] * (len(names) - 1), "[1, 2]"]
    offered = [tool["function"]["name"] for tool in upstream.requests[-1]["tools"]]
    assert set(listed) == set(offered)


async def lists_of(client: httpx.AsyncClient, upstream: Upstream, case: str) -> int:
    """How often the server was asked for its list with this header."""
    script(upstream, "how often?", calls(("c", "tally", {})), Script(words=1))
    response = (await collect(client, {"input": "how often?", "tools": [ODD]}))[-1]["response"]
    counted = next(item["output"] for item in response["output"] if item["type"] == "mcp_call")
    return int(json.loads(counted).get(f"list {case}", 0))


@pytest.mark.parametrize(
    ("cache_control", "asked"),
    [(None, 2), ("max-age=60", 1), ("public, max-age=60", 1), ("no-store, max-age=60", 2), ("max-age=soon", 2)],
)
async def test_a_list_is_kept_between_responses_as_long_as_its_server_allows(
    client: httpx.AsyncClient, upstream: Upstream, cache_control: str | None, asked: int
) -> None:
    case = f"kept {cache_control}".replace(" ", "_").replace(",", "")
    headers = {"x-case": case} | ({"x-cache-control": cache_control} if cache_control else {})
    for _ in range(2):
        script(upstream, "only look", Script(words=1))
        response = (await collect(client, {"input": "only look", "tools": [{**ODD, "headers": headers}]}))[-1][
            "response"
        ]
        assert types(response) == ["mcp_list_tools", "message"]
    assert await lists_of(client, upstream, case) == asked


async def test_a_list_that_its_server_says_has_changed_is_asked_for_again(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    tool = {**ODD, "headers": {"x-case": "changed", "x-cache-control": "max-age=600"}}
    for call in ("tally", "says_its_list_changed"):
        script(upstream, f"call {call}", calls(("c", call, {})), Script(words=1))
        await collect(client, {"input": f"call {call}", "tools": [tool]})
    before = await lists_of(client, upstream, "changed")
    script(upstream, "look again", Script(words=1))
    await collect(client, {"input": "look again", "tools": [tool]})
    assert await lists_of(client, upstream, "changed") == before + 1
