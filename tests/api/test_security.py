"""Limits, slow readers, and logs that say nothing of what was said (issue 6, section 4)."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import redis.asyncio as aioredis
from temporalio.client import Client

from open_responses.io.log.reader import MAX_WAITING, LogHub, Messages
from open_responses.io.log.reader_copies import ReaderCopies
from open_responses.io.redis import key_names
from open_responses.private_addresses import is_forbidden_host
from open_responses.schema.validation import MAX_SCHEMA_VALUES
from tests.support.fake_upstream import Fault, Script, Upstream
from tests.support.responses_http import is_error
from tests.support.slow_reader import SlowReader
from tests.support.small_stack import client_of, small_stack
from tests.support.stack import Stack, another_api, check_whole, collect, events_of, text_of, until

pytestmark = pytest.mark.campaign

SECRET = "canary-c0ffee"
KEY = "sk-canary-decaf"


# --- bodies


async def test_a_compressed_body_is_refused(client: httpx.AsyncClient) -> None:
    """Nobody knows how large it is."""
    bomb = gzip.compress(b'{"model": "fake", "input": "' + b"x" * 10_000_000 + b'"}')
    for path in ("/v1/responses", "/v1/responses/compact"):
        answer = await client.post(path, content=bomb, headers={"Content-Encoding": "gzip"})
        is_error(answer, 415, "unsupported_content_encoding")
    answer = await client.post(
        "/v1/responses", json={"model": "no-such-model", "input": "x"}, headers={"Content-Encoding": "identity"}
    )
    is_error(answer, 404, "model_not_found", "model")


@pytest.mark.parametrize("place", ["tools[0].parameters", "text.format.schema"])
async def test_a_schema_has_a_bound(client: httpx.AsyncClient, place: str) -> None:
    def body(values: int) -> dict[str, Any]:
        schema = {"type": "object", "properties": {"a": {"enum": [0] * values}}}
        if place.startswith("tools"):
            return {"tools": [{"type": "function", "name": "f", "parameters": schema}]}
        return {"text": {"format": {"type": "json_schema", "name": "f", "schema": schema}}}

    answer = await client.post("/v1/responses", json={"model": "fake", "input": "x", **body(MAX_SCHEMA_VALUES)})
    is_error(answer, 400, "invalid_value", place)
    answer = await client.post("/v1/responses", json={"model": "none", "input": "x", **body(MAX_SCHEMA_VALUES - 10)})
    is_error(answer, 404, "model_not_found", "model")


@pytest.mark.parametrize(
    "host",
    [
        "192.0.0.192", "168.63.129.16", "fec0::1", "64:ff9b:1::a9fe:a9fe", "::127.0.0.1", "[::ffff:0:127.0.0.1]",
        "100.100.100.200", "fd00:ec2::254", "2001:0:7f00:1::", "0x7f000001", "017700000001",
    ],
)  # fmt: skip
def test_addresses_that_only_look_public_are_forbidden(host: str) -> None:
    assert is_forbidden_host(host)


# --- slow readers


async def test_a_reader_that_takes_nothing_is_dropped_and_its_response_goes_on(
    stack: Stack, upstream: Upstream
) -> None:
    text = (5000 * "y" + " ") * 800
    upstream.says("slow reader", Script(literal=text))
    async with another_api(stack, env={"OPEN_RESPONSES_SLOW_CLIENT_SECONDS": "1"}) as client:
        reader = await SlowReader.open(str(client.base_url), {"input": "slow reader"})
        while b"response.in_progress" not in reader.received:
            await reader.read()
        response_id = reader.events()[0]["response"]["id"]

        async def has_completed() -> bool:
            return bool((await client.get(f"/v1/responses/{response_id}")).json()["status"] == "completed")

        await until(has_completed, 60)
        log = stack.data / "logs" / f"api-{client.base_url.port}.log"

        async def is_dropped() -> bool:
            return "slow_client_dropped" in log.read_text()

        await until(is_dropped, 20)
        assert "slow_clients_not_dropped" not in log.read_text()
        with contextlib.suppress(ConnectionError):
            await reader.read_to_end()
        reader.close()
        assert b"[DONE]" not in reader.received
        heard = reader.events()
        last = heard[-1]["sequence_number"] if heard else None
        rest = [event async for event in events_of(client, resume=(response_id, last))]
        check_whole([*heard, *rest], text)
        assert "ERROR" not in log.read_text()


async def test_a_reader_that_takes_little_is_waited_for(stack: Stack, upstream: Upstream) -> None:
    """What it has not read is three times what it reads in the time after which one that reads nothing is dropped."""
    upstream.says("little by little", Script(literal=(5000 * "z" + " ") * 60))
    async with another_api(stack, env={"OPEN_RESPONSES_SLOW_CLIENT_SECONDS": "1"}) as client:
        reader = await SlowReader.open(str(client.base_url), {"input": "little by little"})
        began = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() < began + 5:
            await reader.read(65536)
            await asyncio.sleep(0.2)
        await reader.read_to_end()
        reader.close()
        check_whole(reader.events(), (5000 * "z" + " ") * 60)


async def test_what_a_reader_does_not_fetch_is_bounded_and_read_from_the_log(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """The hub drops what a queue has no room for; the reader finds the gap."""
    redis = aioredis.Redis.from_url(stack.redis_url)
    hub = LogHub(redis, ReaderCopies(redis, limit_bytes=0))
    running = asyncio.create_task(hub.run())
    async with hub.listen("resp_bounded") as queue:
        for number in range(3000):
            await redis.publish(key_names.channel("resp_bounded"), f"event {number}")
        await until(lambda: _is_full(queue))
        await asyncio.sleep(0.2)
        assert len(queue.waiting) == MAX_WAITING < 1000
        assert queue.has_gap
        numbers = [int(event) for _, event in queue.waiting]
        assert numbers == list(range(numbers[0], numbers[0] + MAX_WAITING)), "the oldest are kept, in order"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await redis.aclose()

    script = upstream.says("many events", Script(words=3000, gap=0.0001))
    events = []
    async for event in events_of(client, {"input": "many events"}):
        if not events:
            # The API's own reader is held up by a client that does not read, and its queue overflows.
            await asyncio.sleep(2)
        events.append(event)
    check_whole(events, script.text)


async def _is_full(queue: Messages) -> bool:
    return len(queue.waiting) == MAX_WAITING


async def test_a_stream_whose_response_is_ended_from_outside_ends(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """An operator terminates the workflow: nobody writes a terminal event, and the reader must not wait for ever."""
    script = upstream.says("terminated", Script(words=4, hold_after=2))
    temporal = await Client.connect(stack.temporal_address)
    events = []
    async for event in events_of(client, {"input": "terminated"}):
        if not events:
            await asyncio.wait_for(script.held.wait(), 50)
            await temporal.get_workflow_handle(event["response"]["id"]).terminate()
        events.append(event)
    script.released.set()
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"]["code"] == "run_terminated"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


# --- logs


FAILING = f"""
import logging, structlog
from open_responses.io.logs import configure_logs
configure_logs(messages=MESSAGES)

def fail():
    local = {SECRET!r}
    try:
        raise ValueError("cannot read " + local)
    except ValueError as error:
        raise RuntimeError("failed because of " + local) from error

try:
    fail()
except RuntimeError as error:
    structlog.get_logger("ours").exception("it_broke", response_id="resp_1")
    structlog.get_logger("ours").error("it_broke", exc_info=error)
    logging.getLogger("theirs").exception("it broke")
logging.getLogger("asyncio").error("Task exception was never retrieved\\nfuture: <Task exception=%s>", {SECRET!r})
logging.getLogger("mcp.client").error("cannot parse %s", {SECRET!r})
"""


def logged(*, messages: bool = False) -> list[dict[str, Any]]:
    """The lines of a process of its own: how a process logs is set once for all of it."""
    script = FAILING.replace("MESSAGES", str(messages))
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in ran.stderr.splitlines()]


def test_an_exception_is_logged_by_type_and_place_and_without_its_words() -> None:
    *broke, asyncios = logged()
    assert len(broke) == 3
    for line in broke:
        assert [one["type"] for one in line["exception"]] == ["builtins.RuntimeError", "builtins.ValueError"]
        assert line["exception"][0]["frames"][-1].endswith(" fail")
        assert (line["level"], bool(line["timestamp"])) == ("error", True)
    assert asyncios["event"] == "Task exception was never retrieved"
    assert SECRET not in json.dumps([*broke, asyncios])


def test_what_exceptions_say_is_logged_on_demand() -> None:
    assert logged(messages=True)[0]["exception"][0]["message"] == f"failed because of {SECRET}"


@pytest_asyncio.fixture(scope="module")
async def own_stack(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> AsyncIterator[Stack]:
    async with small_stack(tmp_path_factory.mktemp("logs"), upstream, RETRY_WINDOW_SECONDS="2") as stack:
        yield stack


async def test_the_logs_of_a_run_hold_nothing_that_was_said(own_stack: Stack, upstream: Upstream) -> None:
    """A run with what makes processes talk: refusals, faults of the provider, failing tools, a killed worker."""
    calls = [
        {"id": "call_1", "name": "fails", "arguments": json.dumps({"final": False, "why": SECRET})},
        {"id": "call_2", "name": "get_weather", "arguments": json.dumps({"city": SECRET})},
        {"id": "call_3", "name": "get_weather", "arguments": "{" + SECRET},
        {"id": "call_4", "name": "word_count", "arguments": json.dumps({"text": SECRET})},
    ]
    tools = [{"type": "open_responses:hosted_tools"}]
    upstream.says(f"tools {SECRET}", Script(words=0, tool_calls=calls[:3], turns=[Script(literal=f"done {SECRET}")]))
    upstream.says(f"rejected {SECRET}", Script(faults=[Fault(status=400)]))
    upstream.says(f"garbage {SECRET}", Script(faults=[Fault(garbage=True)] * 50))
    upstream.says(f"broken {SECRET}", Script(words=20, faults=[Fault(after=5, drop=True), Fault(status=500)]))
    slow = upstream.says(f"killed {SECRET}", Script(words=30, gap=0.02))
    async with client_of(own_stack) as client:
        for name in ("tools", "rejected", "garbage", "broken"):
            await collect(client, {"input": f"{name} {SECRET}", "tools": tools if name == "tools" else []})
        events = []
        async for event in events_of(client, {"input": f"killed {SECRET}", "store": False}):
            events.append(event)
            if event["type"] == "response.output_text.delta" and event["delta"] == "w5 ":
                await own_stack.kill_seen(await own_stack.busy_worker())
        assert text_of(events) == slow.text
        for body in (
            {"model": SECRET},
            {"model": "fake", "input": [{"type": SECRET}]},
            {"model": "fake", SECRET: SECRET},
        ):
            assert (await client.post("/v1/responses", json=body)).status_code >= 400
        await client.post("/v1/responses", content=b'{"input": "' + SECRET.encode())
        headers = {"Authorization": f"Bearer {KEY}", "X-Provider-Api-Key": KEY, "Cookie": KEY}
        upstream.says("with a key", Script(words=2))
        answer = await client.post("/v1/responses", json={"model": "fake", "input": "with a key"}, headers=headers)
        assert answer.status_code == 200, answer.text
        await client.get(f"/v1/responses/resp_{SECRET}")
        await client.post("/codec/decode", json={"payloads": [{"data": SECRET}]})
    for name in ("worker-0", "worker-1", "api"):
        log = (own_stack.data / "logs" / f"{name}.log").read_text()
        assert log, name
        for secret in (SECRET, KEY):
            assert secret not in log, [line for line in log.splitlines() if secret in line]


async def test_every_line_of_our_logs_is_json(own_stack: Stack) -> None:
    found = 0
    for file in Path(own_stack.data / "logs").glob("[aw]*.log"):
        for line in file.read_text().splitlines():
            found += {"event", "level", "timestamp"} <= json.loads(line).keys()
    assert found > 2


# --- what is installed


def pins(name: str) -> set[str]:
    text = (Path(__file__).parents[2] / name).read_text()
    return set(re.findall(r"^[\w.-]+(?:\[[\w,]+\])?==\S+", text, re.MULTILINE))


def test_the_image_installs_a_part_of_what_was_tested() -> None:
    server, everything = pins("requirements-server.lock"), pins("requirements.lock")
    assert 40 < len(server) < len(everything)
    assert server <= everything
    assert not [pin for pin in server if pin.startswith(("pytest", "hypothesis", "openai", "mypy", "ruff", "rich"))]


def test_the_image_runs_without_root() -> None:
    lines = (Path(__file__).parents[2] / "Dockerfile").read_text().splitlines()
    assert lines.index("USER app") > max(number for number, line in enumerate(lines) if line.startswith("RUN"))
