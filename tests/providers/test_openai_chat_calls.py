"""The pieces of calls that Chat Completions servers send, each in its own way."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from open_responses.json_types import JsonObject
from tests.support.chat_chunks import END, answered, calls_of, chunk, piece, tools

FIRST, SECOND = ("a", "f", '{"x": 1}'), ("b", "g", '{"y": 2}')


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        pytest.param(
            [
                tools(piece("", "f", index=0, id="a")),
                tools(piece("", "g", index=1, id="b")),
                tools(piece('{"x"', index=0)),
                tools(piece('{"y"', index=1)),
                tools(piece(": 1}", index=0), piece(": 2}", index=1)),
            ],
            [FIRST, SECOND],
            id="interleaved",
        ),
        pytest.param(
            [tools(piece('{"x": 1}', "f", id="a"), piece('{"y": 2}', "g", id="b"))],
            [FIRST, SECOND],
            id="whole in one chunk, no index",
        ),
        pytest.param(
            [tools(piece('{"x": 1}', "f", id="a")), tools(piece('{"y": 2}', "g", id="b"))],
            [FIRST, SECOND],
            id="whole in two chunks, no index",
        ),
        pytest.param(
            [tools(piece('{"x": 1}', "f", index=0, id="a")), tools(piece('{"y": 2}', "g", index=0, id="b"))],
            [FIRST, SECOND],
            id="one index for two calls",
        ),
        pytest.param(
            [tools(piece("{}", "f"), piece("{}", "f")), tools(piece("{}", "f"))],
            [(None, "f", "{}")] * 3,
            id="no index, no id",
        ),
        pytest.param(
            [tools(piece("{}", "f", index=0)), tools(piece('{"x": 1}', "f", index=0))],
            [(None, "f", "{}"), (None, "f", '{"x": 1}')],
            id="one index, no id",
        ),
        pytest.param(
            [tools(piece('{"x"', "f", index=0, id="a")), tools(piece(": 1}", "f", index=0, id="a"))],
            [FIRST],
            id="the name in each chunk",
        ),
        pytest.param(
            [tools(piece('{"x"', "f", index=0, id="a")), tools(piece(": 1}", "f", index=0, id="z"))],
            [FIRST],
            id="an id that changes",
        ),
        pytest.param(
            [tools(piece('{"x"', "f", id="a")), tools(piece(": ")), tools(piece("1}", id="a"))],
            [FIRST],
            id="pieces without an index",
        ),
        pytest.param([tools(piece({"x": 1}, "f", index=0, id="a"))], [FIRST], id="arguments as an object"),
        pytest.param(
            [tools(piece("", "f", index=0, id="a")), tools(piece("", "f", index=0, id=""))],
            [("a", "f", "")],
            id="empty arguments",
        ),
        pytest.param([tools(piece(None, "f", index=0, id="a"))], [("a", "f", "")], id="arguments null"),
        pytest.param([tools(piece('{"x', "f", index=0, id="a"))], [("a", "f", '{"x')], id="broken arguments"),
        pytest.param(
            [
                chunk({"function_call": {"name": "f", "arguments": '{"x"'}}),
                chunk({"function_call": {"arguments": ": 1}"}}),
            ],
            [(None, "f", '{"x": 1}')],
            id="function_call",
        ),
    ],
)
async def test_every_servers_pieces_become_the_calls_that_were_meant(
    http: httpx.AsyncClient, chunks: list[JsonObject], expected: list[Any]
) -> None:
    assert calls_of(await answered(http, *chunks, *END)) == expected
