"""The log lines by which an operator follows a request: one when a response starts, one when it ends, one a refusal."""

from __future__ import annotations

import json
import uuid
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from open_responses.context.compaction import ORDER
from tests.support.fake_upstream import Fault, Script, Upstream, calls
from tests.support.scripts import HOSTED, script
from tests.support.stack import Stack, until
from tests.support.websocket_client import connected

Line = dict[str, Any]


def lines(stack: Stack, **wanted: Any) -> list[Line]:
    """The log lines of all our processes that have these fields."""
    found = []
    for file in (stack.data / "logs").glob("[aw]*.log"):
        for text in file.read_text().splitlines():
            if text.startswith("{"):
                line = json.loads(text)
                if all(line.get(name) == value for name, value in wanted.items()):
                    found.append(line)
    return found


async def ended(stack: Stack, response_id: str) -> Line:
    async def has_ended() -> bool:
        return bool(lines(stack, event="response_ended", response_id=response_id))

    await until(has_ended)
    (line,) = lines(stack, event="response_ended", response_id=response_id)
    return line


async def test_a_response_has_one_line_at_its_start_and_one_at_its_end(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    request_id, secret = f"mine-{uuid.uuid4().hex}", "a secret of the conversation"
    script(upstream, secret, calls(("c", "get_weather", {"city": secret})), Script(words=3))
    body = {"model": "fake", "input": secret, "tools": HOSTED}
    answer = await client.post("/v1/responses", json=body, headers={"X-Request-Id": request_id})
    response = answer.json()
    end = await ended(stack, response["id"])
    (start,) = lines(stack, event="response_started", response_id=response["id"])
    for line in (start, end):
        assert (line["request_id"], line["tenant"]) == (request_id, "default")
        assert (line["provider"], line["model"]) == ("fake", "fake")
        assert secret not in json.dumps(line)
    assert {name: end[name] for name in ("status", "code", "turns", "attempts", "tools")} == {
        "status": "completed",
        "code": None,
        "turns": 2,
        "attempts": 2,
        "tools": ["get_weather"],
    }
    assert end["total_tokens"] == response["usage"]["total_tokens"] > 0
    assert "cost_usd" in end
    assert 0 < end["first_token_seconds"] <= end["total_seconds"]


async def test_a_response_that_fails_is_logged_once_with_its_code(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    prompt = f"refused {uuid.uuid4().hex}"
    upstream.says(prompt, Script(faults=[Fault(status=400)]))
    response = (await client.post("/v1/responses", json={"model": "fake", "input": prompt})).json()
    assert response["status"] == "failed", response
    end = await ended(stack, response["id"])
    assert (end["status"], end["code"], end["level"]) == ("failed", response["error"]["code"], "warning")
    (attempt,) = lines(stack, event="sample_failed", response_id=response["id"])
    assert attempt["code"] == response["error"]["code"]
    # A line of Temporal's SDK about the activity would be a second one.
    events = sorted(line["event"] for line in lines(stack) if response["id"] in json.dumps(line))
    assert events == ["response_ended", "response_started", "sample_failed"]


@pytest.mark.parametrize(
    ("body", "code"),
    [({"model": "fake"}, "missing_required_parameter"), ({"model": "no such model", "input": "hi"}, "model_not_found")],
)
async def test_a_refusal_has_one_line_with_its_code(
    client: httpx.AsyncClient, stack: Stack, body: Line, code: str
) -> None:
    request_id = f"refused-{uuid.uuid4().hex}"
    answer = await client.post("/v1/responses", json=body, headers={"X-Request-Id": request_id})
    assert answer.json()["error"]["code"] == code

    async def is_logged() -> bool:
        return bool(lines(stack, request_id=request_id))

    await until(is_logged)
    (line,) = lines(stack, request_id=request_id)
    assert {name: line[name] for name in ("event", "code", "status", "path")} == {
        "event": "refused",
        "code": code,
        "status": answer.status_code,
        "path": "/v1/responses",
    }


async def test_a_compaction_that_fails_is_logged_as_other_responses_are(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """Its answer is an error, and no refusal: a second line and a second count would be of the same failure."""
    request_id = f"compacted-{uuid.uuid4().hex}"
    upstream.says(ORDER, Script(faults=[Fault(status=400)]))
    body = {"model": "fake", "input": f"compact {request_id}"}
    answer = await client.post("/v1/responses/compact", json=body, headers={"X-Request-Id": request_id})
    assert answer.json()["error"]["code"] == "provider_rejected_request"

    async def has_ended() -> bool:
        return bool(lines(stack, event="response_ended", request_id=request_id))

    await until(has_ended)
    (end,) = lines(stack, event="response_ended", request_id=request_id)
    assert (end["status"], end["code"]) == ("failed", "provider_rejected_request")
    # The API would have written it before it answered.
    assert lines(stack, event="refused", request_id=request_id) == []


@pytest.mark.parametrize("path", ["/nowhere", "/v1/responses/input_tokens"])
async def test_a_path_or_a_method_that_is_not_there_is_a_refusal(
    client: httpx.AsyncClient, stack: Stack, path: str
) -> None:
    request_id = f"nowhere-{uuid.uuid4().hex}"
    answer = await client.put(path, headers={"X-Request-Id": request_id})
    (line,) = lines(stack, request_id=request_id)
    assert (line["event"], line["status"]) == ("refused", answer.status_code if answer.status_code != 405 else 409)


async def test_each_refusal_of_a_socket_has_one_line(stack: Stack) -> None:
    seen = lines(stack, event="refused", path="websocket")

    async def refused() -> list[Line]:
        def fresh() -> list[Line]:
            return [line for line in lines(stack, event="refused", path="websocket") if line not in seen]

        async def are_there() -> bool:
            return bool(fresh())

        await until(are_there)
        found = fresh()
        seen.extend(found)
        return found

    async with connected(stack.api_url) as socket:
        await socket.say("no JSON")
        await socket.is_refused(400, "invalid_json")
        (line,) = await refused()
        assert (line["code"], line["status"], line["tenant"]) == ("invalid_json", 400, "default")
        await socket.ask(input="hi", model="no such model")
        await socket.is_refused(404, "model_not_found")
        (line,) = await refused()
        assert line["code"] == "model_not_found"
    with pytest.raises(InvalidStatus):
        async with connected(stack.api_url, {"Origin": "https://a.page.example"}):
            pass
    (line,) = await refused()
    assert (line["code"], line["status"]) == ("no_api_keys", 403)


async def test_a_trace_goes_through_to_the_provider_also_where_nothing_is_recorded(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    trace_id = uuid.uuid4().hex
    traceparent = f"00-{trace_id}-b7ad6b7169203331-01"
    body = {"model": "fake", "input": f"traced {trace_id}"}
    response = (await client.post("/v1/responses", json=body, headers={"traceparent": traceparent})).json()
    assert response["status"] == "completed"
    assert [head for head in upstream.heads if f"traceparent: {traceparent}" in head.lower()]
    assert (await ended(stack, response["id"]))["trace_id"] == trace_id


async def test_a_trace_goes_through_to_the_servers_of_tools(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """Each server that a hosted tool calls, and each MCP server: in the header and in the protocol's own member."""
    prompt = f"trace the tools {uuid.uuid4().hex}"
    traceparent = f"00-{uuid.uuid4().hex}-b7ad6b7169203331-01"
    url = f"http://127.0.0.1:{upstream.port}/called-by-a-tool"
    script(upstream, prompt, calls(("a", "calls_out", {"url": url}), ("b", "add", {"a": 1, "b": 2})), Script(words=2))
    tools = [
        {"type": "function", "name": "calls_out"},
        {"type": "mcp", "server_label": "calc", "require_approval": "never"},
    ]
    body = {"model": "fake", "input": prompt, "tools": tools}
    response = (await client.post("/v1/responses", json=body, headers={"traceparent": traceparent})).json()
    assert response["status"] == "completed", response
    (called,) = [head for head in upstream.heads if "/called-by-a-tool" in head]
    assert f"traceparent: {traceparent}" in called.lower()
    folder = stack.data / "hosted"
    assert traceparent in (folder / "mcp-traces").read_text().splitlines()
    assert traceparent in [
        json.loads(line).get("traceparent") for line in (folder / "mcp-meta").read_text().splitlines()
    ]


async def test_a_request_outside_of_a_trace_sends_none(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    upstream.heads.clear()
    for given in ("", "nonsense"):
        headers = {"traceparent": given} if given else {}
        response = (await client.post("/v1/responses", json={"model": "fake", "input": "hi"}, headers=headers)).json()
        assert response["status"] == "completed"
        assert (await ended(stack, response["id"]))["trace_id"] is None
    assert not [head for head in upstream.heads if "traceparent" in head.lower()]


async def test_an_answer_that_is_paid_for_and_holds_nothing_is_a_warning_with_its_shape(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    secret = "words that no log may have"
    unknown = {"role": "assistant", "new_content": [{"type": "new_text", "text": secret}]}
    script(upstream, "an answer in an unknown form", Script(words=0, tokens=7, unknown=unknown))
    answer = await client.post("/v1/responses", json={"model": "fake", "input": "an answer in an unknown form"})
    response = answer.json()
    await ended(stack, response["id"])
    assert (response["status"], response["usage"]["output_tokens"]) == ("completed", 7)
    (line,) = lines(stack, event="answer_holds_nothing", response_id=response["id"])
    assert (line["level"], line["provider"], line["output_tokens"]) == ("warning", "fake", 7)
    assert any("new_text" in shape and f"<{len(secret)} characters>" in shape for shape in line["events"])
    assert secret not in json.dumps(line)
