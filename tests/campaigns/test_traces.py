"""One trace of a response: from the client's request over its model calls and tools to its end, also across a kill.

A collector takes OTLP from the API and the workers, as in production.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from dev import services
from dev.services import Service
from open_responses.io.ports import is_taken
from tests.support.fake_upstream import Fault, Script, Upstream, calls
from tests.support.mcp_token import TOKEN
from tests.support.otlp_receiver import OtlpReceiver, Received
from tests.support.own_stack import client, stack
from tests.support.scripts import HOSTED, script
from tests.support.small_stack import small_stack
from tests.support.stack import Stack, collect, until

__all__ = ["client", "stack"]

pytestmark = pytest.mark.campaign

_MCP = """
[[mcp_servers]]
label = "calc"
url = "http://127.0.0.1:{port}/mcp"
headers_env = {{ Authorization = "CALC_AUTH" }}
"""
CLIENT_SPAN = "b7ad6b7169203331"


@pytest.fixture(scope="module")
def collector() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


@pytest_asyncio.fixture(scope="module")
async def own_stack(
    tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, collector: OtlpReceiver
) -> AsyncIterator[Stack]:
    data: Path = tmp_path_factory.mktemp("traced")
    port = services.free_port()

    async def ready() -> bool:
        return is_taken(port)

    command = (sys.executable, "-m", "tests.support.mcp_server", str(port), "streamable")
    mcp = Service("mcp", command, ready, {"HOSTED_TOOLS_DIR": str(data)})
    environment = {**collector.env, "CALC_AUTH": f"Bearer {TOKEN}"}
    async with small_stack(data, upstream, more=environment, tail=_MCP.format(port=port)) as own:
        own.services["mcp"] = mcp
        await own.start("mcp")
        yield own


def new_trace() -> tuple[str, dict[str, str]]:
    trace_id = uuid.uuid4().hex
    return trace_id, {"traceparent": f"00-{trace_id}-{CLIENT_SPAN}-01", "X-Request-Id": f"mine-{trace_id}"}


async def whole_trace(collector: OtlpReceiver, trace_id: str) -> list[Received]:
    """The spans of a trace whose response and request have ended."""

    def found(kind: str) -> list[Received]:
        return [span for span in collector.spans if span.trace_id == trace_id and span.name.startswith(kind)]

    async def is_there() -> bool:
        return bool(found("invoke_agent")) and bool(found("POST"))

    await until(is_there)
    # Each process sends its own: the others' batches may be behind.
    before = -1
    while before != (count := len(found(""))):
        before = count
        await asyncio.sleep(1)
    return found("")


def only(spans: list[Received], name: str) -> Received:
    (found,) = [span for span in spans if span.name == name]
    return found


async def test_the_spans_of_a_response_are_one_tree(
    client: httpx.AsyncClient, upstream: Upstream, collector: OtlpReceiver
) -> None:
    trace_id, headers = new_trace()
    secret = f"a secret {trace_id}"
    wanted = (("c1", "get_weather", {"city": secret}), ("c2", "add", {"a": 1, "b": 2}))
    script(upstream, secret, calls(*wanted), Script(words=3))
    tools = [*HOSTED, {"type": "mcp", "server_label": "calc", "require_approval": "never"}]
    body = {"model": "fake", "input": secret, "tools": tools, "temperature": 0.5}
    response = (await client.post("/v1/responses", json=body, headers=headers)).json()
    assert response["status"] == "completed", response
    spans = await whole_trace(collector, trace_id)
    request, whole = only(spans, "POST /v1/responses"), only(spans, "invoke_agent fake")
    assert request.parent_id == CLIENT_SPAN
    assert whole.parent_id == request.span_id
    chats = [span for span in spans if span.name == "chat fake"]
    weather, addition = only(spans, "execute_tool get_weather"), only(spans, "execute_tool calc.add")
    assert [span.parent_id for span in (*chats, weather, addition)] == [whole.span_id] * 4
    assert only(spans, "tools/call add").parent_id == addition.span_id
    assert only(spans, "tools/list").parent_id == whole.span_id
    assert {span.resource["service.name"] for span in spans} == {"open-responses-api", "open-responses-worker"}
    first, second = sorted(chats, key=lambda span: span.attributes["open_responses.turn"])
    assert first.attributes["gen_ai.response.finish_reasons"] == ["tool_calls"]
    assert (
        second.attributes
        | {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "fake",
            "gen_ai.request.temperature": 0.5,
            "gen_ai.usage.output_tokens": 3,
            "open_responses.response_id": response["id"],
            "open_responses.request_id": headers["X-Request-Id"],
            "open_responses.tenant": "default",
        }
        == second.attributes
    )
    used = sum(span.attributes["gen_ai.usage.input_tokens"] for span in chats)
    assert whole.attributes["open_responses.input_tokens"] == used == response["usage"]["input_tokens"]
    assert request.attributes["http.response.status_code"] == 200
    assert not [span for span in spans if span.has_failed or secret in repr(span)]
    # The provider is asked from within the span of its call.
    sent = [head for head in upstream.heads if trace_id in head]
    assert all(any(f"{trace_id}-{chat.span_id}-01" in head for head in sent) for chat in chats)


async def test_a_trace_goes_on_in_another_worker_after_a_kill(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream, collector: OtlpReceiver
) -> None:
    trace_id, headers = new_trace()
    answer = upstream.says(f"long {trace_id}", Script(words=40, hold_after=10))
    body = {"model": "fake", "input": f"long {trace_id}"}
    asking = asyncio.create_task(client.post("/v1/responses", json=body, headers=headers))
    await asyncio.wait_for(answer.held.wait(), 50)
    await stack.kill_seen(await stack.busy_worker())
    answer.released.set()
    response = (await asking).json()
    assert response["status"] == "completed", response
    spans = await whole_trace(collector, trace_id)
    whole = only(spans, "invoke_agent fake")
    assert whole.parent_id == only(spans, "POST /v1/responses").span_id
    # The killed worker's own span is lost with it.
    chat = only(spans, "chat fake")
    assert chat.parent_id == whole.span_id
    assert chat.attributes["open_responses.attempt"] > 1
    assert chat.attributes["open_responses.outcome"] == "done"


async def test_a_failure_is_marked_with_its_code(
    client: httpx.AsyncClient, upstream: Upstream, collector: OtlpReceiver
) -> None:
    trace_id, headers = new_trace()
    upstream.says(f"refused {trace_id}", Script(faults=[Fault(status=400)]))
    body = {"model": "fake", "input": f"refused {trace_id}"}
    response = (await client.post("/v1/responses", json=body, headers=headers)).json()
    spans = await whole_trace(collector, trace_id)
    for name in ("chat fake", "invoke_agent fake"):
        span = only(spans, name)
        assert span.has_failed
        assert span.attributes["error.type"] == response["error"]["code"]
    assert not only(spans, "POST /v1/responses").has_failed


async def test_a_stream_and_its_replay_are_requests_of_their_own(
    client: httpx.AsyncClient, collector: OtlpReceiver
) -> None:
    events: list[Any] = await collect(client, {"input": "streamed"})
    response_id = events[-1]["response"]["id"]

    def replays() -> list[Received]:
        return collector.named("GET /v1/responses/{response_id}")

    def runs() -> list[Received]:
        named = collector.named("invoke_agent fake")
        return [span for span in named if span.attributes["open_responses.response_id"] == response_id]

    assert (await client.get(f"/v1/responses/{response_id}")).status_code == 200
    # They come from two processes, each when it sends what it has collected.
    await until_true(lambda: bool(replays() and runs()))
    (whole,) = runs()
    assert replays()[0].trace_id != whole.trace_id


async def until_true(condition: Callable[[], bool]) -> None:
    async def is_true() -> bool:
        return condition()

    await until(is_true)


async def test_contents_are_sent_where_the_operator_asks_for_them(
    tmp_path: Path, upstream: Upstream, collector: OtlpReceiver
) -> None:
    trace_id, headers = new_trace()
    secret = f"a secret {trace_id}"
    script(upstream, secret, calls(("c1", "get_weather", {"city": secret})), Script(words=3))
    more = {**collector.env, "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "true"}
    async with (
        small_stack(tmp_path, upstream, more=more) as own,
        httpx.AsyncClient(base_url=own.api_url, timeout=60, trust_env=False) as client,
    ):
        body = {"model": "fake", "input": secret, "tools": HOSTED, "instructions": "be brief"}
        response = (await client.post("/v1/responses", json=body, headers=headers)).json()
        assert response["status"] == "completed", response
        spans = await whole_trace(collector, trace_id)
    tool = only(spans, "execute_tool get_weather")
    assert secret in tool.attributes["gen_ai.tool.call.arguments"]
    assert secret in tool.attributes["gen_ai.tool.call.result"]
    chats = sorted(
        (span for span in spans if span.name == "chat fake"), key=lambda span: span.attributes["open_responses.turn"]
    )
    assert all(secret in chat.attributes["gen_ai.input.messages"] for chat in chats)
    assert all(chat.attributes["gen_ai.system_instructions"] == "be brief" for chat in chats)
    assert "w0 w1 w2" in chats[-1].attributes["gen_ai.output.messages"]
