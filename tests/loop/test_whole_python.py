"""`code_interpreter` with CPython in a sandbox of the kernel's, in a real worker."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.responses_http import create
from tests.support.scripts import script
from tests.support.small_stack import small_stack
from tests.support.stack import http_client

TABLE = '[code_interpreter]\nbackend = "bubblewrap"\nrun_seconds = 5\n'


@pytest.mark.campaign
@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
async def test_a_model_runs_whole_python_and_gives_a_file(tmp_path: Path, upstream: Upstream) -> None:
    first = "import sqlite3\ndef numbers():\n    yield from (1, 2, 3)\nopen('sum.txt', 'w').write(str(sum(numbers())))"
    second = "del first\nlist(numbers()), open('sum.txt').read()"
    script(
        upstream,
        "in whole python",
        calls(("a", "code_interpreter", {"code": f"first = 1\n{first}"})),
        calls(("b", "code_interpreter", {"code": second})),
        Script(literal="【1:1】"),
    )
    tools = [{"type": "code_interpreter", "container": {"type": "auto"}}]
    async with small_stack(tmp_path, upstream, tail=TABLE) as stack, http_client(stack.api_url) as client:
        response = await create(
            client, model="fake", input="in whole python", tools=tools, include=["code_interpreter_call.outputs"]
        )
        assert response["output"][0]["outputs"] == [{"type": "logs", "logs": "1\n"}]
        (cited,) = response["output"][2]["content"][0]["annotations"]
        content = await client.get(f"/v1/containers/{cited['container_id']}/files/{cited['file_id']}/content")
    assert content.content == b"6"
    assert response["output"][1]["outputs"] == [{"type": "logs", "logs": "([1, 2, 3], '6')\n"}]
    assert "CPython" in upstream.requests[-1]["tools"][0]["function"]["description"]
