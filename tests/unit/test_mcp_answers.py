"""What an MCP server answers: an odd part is replaced, and everything beside it stays."""

from __future__ import annotations

from typing import Any

import mcp_types
import pytest

from activities.tools.mcp_content import output_of
from activities.tools.mcp_repairs import repaired
from open_responses.tool_use.tool_output import in_words, tool_output
from tests.support.odd_mcp_server import DRAWN, PDF, PNG, TOOLS

ANYTHING = {"type": "object", "properties": {}}


def listed(*tools: Any, called: str | None = None, **members: Any) -> dict[str, Any]:
    return repaired({"tools": list(tools), **members}, called)


def schema_of(given: Any) -> tuple[Any, str]:
    tool = {"name": "t", "description": "Does it.", "inputSchema": given}
    mended = mcp_types.ListToolsResult.model_validate(listed(tool)).tools[0]
    return mended.input_schema, mended.description or ""


def test_one_odd_tool_takes_none_of_its_siblings_away() -> None:
    names = [tool.name for tool in mcp_types.ListToolsResult.model_validate(listed(*TOOLS)).tools]
    assert names == [tool["name"] for tool in TOOLS if isinstance(tool, dict) and isinstance(tool["name"], str)]


@pytest.mark.parametrize("given", [None, {}, {"type": None}, {"properties": None, "required": None}])
def test_a_schema_that_says_nothing_takes_no_arguments(given: Any) -> None:
    assert schema_of(given) == (ANYTHING, "Does it.")


@pytest.mark.parametrize("given", [[], "object", 3, True, {"type": "array"}, {"type": ["string"]}])
def test_a_schema_that_is_none_of_an_object_is_left_out_and_the_description_says_so(given: Any) -> None:
    schema, description = schema_of(given)
    assert schema == ANYTHING
    assert description.startswith("Does it. [The server's schema of the arguments is left out: it")


def test_names_of_types_in_capitals_and_lists_of_types_are_understood() -> None:
    given = {
        "type": ["OBJECT", "null"],
        "properties": {
            "type": {"type": "STRING", "enum": ["STRING"], "default": {"type": "STRING"}},
            "list": {"type": "ARRAY", "items": {"type": ["INTEGER", "NULL"]}},
        },
    }
    assert schema_of(given)[0] == {
        "type": "object",
        "properties": {
            "type": {"type": "string", "enum": ["STRING"], "default": {"type": "STRING"}},
            "list": {"type": "array", "items": {"type": ["integer", "null"]}},
        },
    }


@pytest.mark.parametrize("hint", ["true", 1, None, [], {}])
def test_a_hint_that_is_not_a_boolean_is_no_hint(hint: Any) -> None:
    notes = {"readOnlyHint": hint, "idempotentHint": True}
    (tool,) = listed({"name": "t", "annotations": notes})["tools"]
    assert tool["annotations"] == {"idempotentHint": True}


@pytest.mark.parametrize(
    "given", [None, [], "object", {"type": "OBJECT"}, {"type": "array"}, {"type": "object", "$defs": 1}]
)
def test_a_schema_of_the_output_that_is_none_is_not_checked(given: Any) -> None:
    (tool,) = listed({"name": "t", "outputSchema": given}, called="t")["tools"]
    assert "outputSchema" not in tool
    valid = {"type": "object", "required": ["a"]}
    (tool,) = listed({"name": "t", "outputSchema": valid}, called="t")["tools"]
    assert tool["outputSchema"] == valid


def test_odd_members_of_a_list_are_left_out() -> None:
    mended = listed({"name": "t"}, nextCursor=3, ttlMs="soon", cacheScope="mine")
    assert mended.keys() == {"tools"}
    assert listed(ttlMs=-5, cacheScope="public", nextCursor="n") == {
        "tools": [],
        "ttlMs": 0,
        "cacheScope": "public",
        "nextCursor": "n",
    }


def result(content: Any, **members: Any) -> mcp_types.CallToolResult:
    return mcp_types.CallToolResult.model_validate(repaired({"content": content, **members}, "t"))


def test_each_block_is_a_part_that_a_model_reads_or_a_line_about_it() -> None:
    text, image, sound, report, archive, table, link, unknown, broken = output_of(result(DRAWN))
    assert text == {"type": "input_text", "text": "Here it is."}
    assert image == {"type": "input_image", "image_url": f"data:image/jpeg;base64,{PNG}", "detail": "auto"}
    assert sound == {"type": "input_audio", "input_audio": {"data": "UklGRiQAAABXQVZF", "format": "wav"}}
    data = f"data:application/pdf;base64,{PDF}"
    assert report == {"type": "input_file", "filename": "report.pdf", "file_data": data}
    assert "resource file:///a/b.zip of type application/zip, 4 bytes" in archive["text"]
    assert table["text"] == "a,b"
    assert link["text"] == "[c: https://example.com/c (The third.)]"
    assert "hologram" in unknown["text"]
    assert "'image'" in broken["text"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (f"data:image/png;base64,{PNG}", PNG),
        ("\n".join(PNG[at : at + 10] for at in range(0, len(PNG), 10)), PNG),
        (PNG.replace("+", "-").replace("/", "_").rstrip("="), PNG),
        ("not base64!", "not base64"),
        ("", "not base64"),
    ],
)
def test_base64_is_read_as_servers_write_it(data: str, said: str) -> None:
    output = output_of(result([{"type": "image", "data": data, "mimeType": "image/png"}]))
    assert said in str(output)
    assert (said == PNG) == isinstance(output, list)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"content": "plain"}, "plain"),
        ({"content": {"type": "text", "text": "alone"}}, "alone"),
        ({"content": None, "structuredContent": {"a": 1}}, '{"a": 1}'),
        ({"structuredContent": [1, 2]}, "[1, 2]"),
        ({"content": [{"type": "text", "text": 3}]}, "does not know"),
        ({"content": [None, 1, "a"]}, "null\n1\na"),
        ({"isError": False}, ""),
    ],
)
def test_a_result_of_an_odd_form_is_read(given: dict[str, Any], said: str) -> None:
    read = output_of(mcp_types.CallToolResult.model_validate(repaired(given, "t")))
    assert isinstance(read, str)
    assert said in read


def test_other_results_are_not_touched() -> None:
    hello = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {}}
    assert repaired(hello, None) is hello


def test_parts_in_words_have_no_data() -> None:
    said = in_words(output_of(result(DRAWN)))
    assert PNG not in said
    assert "Here it is.\n[image, image/jpeg, 7" in said
    assert "[audio, wav, 12 bytes]" in said
    assert "[file, report.pdf, application/pdf, " in said
    address = {"type": "input_image", "image_url": "https://example.com/a.png"}
    assert in_words([address]) == "[image, https://example.com/a.png]"
    assert in_words([{"type": "input_file", "file_id": "file-1"}]) == "[file, file-1]"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
        {"type": "input_video", "video_url": "https://example.com/a.mp4"},
    ],
)
def test_a_hosted_tool_returns_sound_and_video_as_parts_and_not_as_json(part: dict[str, Any]) -> None:
    assert tool_output([part]) == [part]


def test_an_image_of_a_hosted_tool_has_the_media_type_of_its_bytes() -> None:
    (part,) = tool_output([{"type": "input_image", "image_url": f"data:image/jpeg;base64,{PNG}"}])
    assert part == {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"}
