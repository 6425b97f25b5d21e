"""Clients from Node.js (`tests/clients/node/clients.js`): `openai`, and the AI SDK with two of its providers."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.fake_upstream import Fault, Script, Upstream, calls
from tests.support.npm_packages import installed
from tests.support.scripts import script
from tests.support.stack import Stack
from tests.support.stream_judge import judge

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(300)]

SOURCE = Path(__file__).parent / "node"
AI_SDK = ["aiSdk", "aiSdkOpenAI"]
TEXT = "w0 w1 w2 w3 w4 w5 "

needs_node = pytest.mark.skipif(
    shutil.which("node") is None or shutil.which("npm") is None, reason="needs Node.js 18 or newer and npm on the PATH"
)


def refuse_all() -> Script:
    return Script(faults=[Fault(status=400)] * 3)


@pytest_asyncio.fixture(scope="module")
async def found(session_stack: Stack, upstream: Upstream) -> dict[str, Any]:
    """What all clients made of the answers: one run of Node for all tests."""
    await session_stack.heal()
    folder = await asyncio.to_thread(installed, SOURCE, "clients.js")
    upstream.says("node text", Script(words=6))
    script(upstream, "node tools", calls(("n1", "node_weather", {"city": "Oslo"})), Script(literal="It is sunny."))
    upstream.says("node object", Script(literal='{"city":"Rome","people":2800000}'))
    upstream.says("node fails", refuse_all())
    process = await asyncio.create_subprocess_exec(
        "node", "clients.js", f"{session_stack.api_url}/v1", cwd=folder, stdout=-1, stderr=-1
    )
    out, err = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode == 0, err.decode()
    read: dict[str, Any] = json.loads(out)
    return read


@needs_node
async def test_openai_for_node_reads_text_and_events(found: dict[str, Any]) -> None:
    seen = found["openai"]
    assert seen["text"]["text"] == seen["text"]["stored"] == TEXT, seen["text"]
    assert seen["text"]["requestId"]
    response = judge(seen["stream"]["events"])
    assert response["output"][0]["content"][0]["text"] == TEXT
    assert seen["stream"]["rest"] == list(range(6, len(seen["stream"]["events"])))
    assert seen["helper"] == {"deltas": TEXT, "text": TEXT}
    assert seen["background"] == {"first": "queued", "status": "completed", "text": TEXT}


@needs_node
async def test_openai_for_node_answers_its_own_calls(found: dict[str, Any]) -> None:
    assert found["openai"]["tools"] == {"name": "node_weather", "text": "It is sunny."}


@needs_node
@pytest.mark.parametrize(
    ("case", "name", "status", "code"),
    [
        ("invalid", "BadRequestError", 400, "invalid_value"),
        ("model", "NotFoundError", 404, "model_not_found"),
        ("unknown", "NotFoundError", 404, "not_found"),
        ("failed", "APIError", None, "provider_rejected_request"),
    ],
)
async def test_openai_for_node_raises_its_own_errors(
    found: dict[str, Any], case: str, name: str, status: int | None, code: str
) -> None:
    error = found["openai"]["errors"][case]
    assert (error["name"], error.get("status"), error.get("code")) == (name, status, code)
    assert error["isApiError"]


@needs_node
@pytest.mark.parametrize("provider", AI_SDK)
async def test_the_ai_sdk_reads_text_streams_tools_and_objects(found: dict[str, Any], provider: str) -> None:
    seen = found[provider]
    assert seen["text"] == {"text": TEXT, "finish": "stop", "usage": 16}
    assert {**seen["stream"], "pieces": 0} == {"pieces": 0, "text": TEXT, "finish": "stop"}
    assert 1 <= seen["stream"]["pieces"] <= 6
    assert seen["tools"] == {"asked": ["Oslo"], "text": "It is sunny.", "steps": 2}
    assert seen["streamedTools"] == {"calls": [{"city": "Oslo"}], "finish": "tool-calls"}
    assert seen["object"] == {"city": "Rome", "people": 2800000}


@needs_node
@pytest.mark.parametrize("provider", AI_SDK)
async def test_the_ai_sdk_tells_of_errors(found: dict[str, Any], provider: str) -> None:
    seen = found[provider]["errors"]
    assert (seen["model"]["status"], seen["model"]["code"]) == (404, "model_not_found")
    assert "nobody" in seen["model"]["message"]
    assert (seen["invalid"]["status"], seen["invalid"]["code"]) == (400, "invalid_value")
    assert set(seen["streamed"]) == {"error"}
