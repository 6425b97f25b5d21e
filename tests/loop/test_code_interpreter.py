"""`code_interpreter` for the model of any provider: OpenAI's item and events, and a state that stays."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from open_responses.io.redis.client import Redis
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.fake_vendors import Vendors
from tests.support.responses_http import create, is_error
from tests.support.scripts import script, types
from tests.support.stack import Event, Stack, check_whole, collect, events_of, until
from tests.support.vendor_scripts import Spoken, call

PYTHON = {"type": "code_interpreter", "container": {"type": "auto"}}
OUTPUTS = ["code_interpreter_call.outputs"]


def runs(code: str, call_id: str = "call_1") -> Script:
    return calls((call_id, "code_interpreter", {"code": code}))


def told(upstream: Upstream) -> list[str]:
    return [message["content"] for message in upstream.requests[-1]["messages"] if message["role"] == "tool"]


async def test_code_is_openais_item_with_its_events_and_the_model_reads_what_it_printed(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script(upstream, "sum them", runs("numbers = [1, 2, 3]\nsum(numbers)"), Script(words=1))
    events = await collect(client, {"input": "sum them", "tools": [PYTHON], "include": OUTPUTS})
    response = check_whole(events, "w0 ")
    item = response["output"][0]
    assert item == {
        "type": "code_interpreter_call",
        "id": item["id"],
        "status": "completed",
        "code": "numbers = [1, 2, 3]\nsum(numbers)",
        "container_id": item["container_id"],
        "outputs": [{"type": "logs", "logs": "6\n"}],
    }
    assert item["container_id"].startswith("cntr_")
    names = [event["type"] for event in events if event.get("output_index") == 0]
    assert [name for at, name in enumerate(names) if name != names[at - 1]] == [
        "response.output_item.added",
        "response.code_interpreter_call.in_progress",
        "response.code_interpreter_call_code.delta",
        "response.code_interpreter_call_code.done",
        "response.code_interpreter_call.interpreting",
        "response.code_interpreter_call.completed",
        "response.output_item.done",
    ]
    assert told(upstream) == ["6\n"]
    assert (await client.get(f"/v1/responses/{response['id']}")).json() == response


async def test_the_openai_sdk_unchanged_gets_the_code_and_its_output(upstream: Upstream, stack: Stack) -> None:
    script(upstream, "by the sdk", runs("6 * 7"), Script(words=1))
    sdk = AsyncOpenAI(base_url=stack.api_url + "/v1", api_key="none", max_retries=0)
    response = await sdk.responses.create(
        model="fake",
        input="by the sdk",
        tools=[{"type": "code_interpreter", "container": {"type": "auto"}}],
        include=["code_interpreter_call.outputs"],
    )
    (item, _) = response.output
    assert item.type == "code_interpreter_call"
    assert item.code == "6 * 7"
    assert [output.logs for output in item.outputs or [] if output.type == "logs"] == ["42\n"]


async def test_variables_stay_across_calls_and_responses_also_without_redis(
    client: httpx.AsyncClient, upstream: Upstream, redis: Redis
) -> None:
    script(upstream, "remember x", runs("x = 20"), runs("x += 1", "call_2"), Script(words=1))
    first = await create(client, model="fake", input="remember x", tools=[PYTHON])
    await redis.flushall()
    script(upstream, "what is x", runs("x * 2", "call_3"), Script(words=1))
    body = {"input": "what is x", "tools": [PYTHON], "include": OUTPUTS, "previous_response_id": first["id"]}
    second = await create(client, model="fake", **body)
    assert second["output"][0]["outputs"] == [{"type": "logs", "logs": "42\n"}]
    containers = {item["container_id"] for item in [*first["output"][:2], second["output"][0]]}
    assert len(containers) == 1
    named = {"type": "code_interpreter", "container": containers.pop()}
    script(upstream, "by its id", runs("x", "call_4"), Script(words=1))
    third = await create(client, model="fake", input="by its id", tools=[named], include=OUTPUTS)
    assert third["output"][0]["outputs"] == [{"type": "logs", "logs": "21\n"}]


async def test_without_include_the_item_has_no_outputs(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script(upstream, "no outputs", runs("1 / 0"), Script(words=1))
    response = await create(client, model="fake", input="no outputs", tools=[PYTHON])
    assert (response["output"][0]["status"], response["output"][0]["outputs"]) == ("completed", None)
    assert "ZeroDivisionError" in told(upstream)[0]


async def test_anthropics_format_runs_code_as_well(client: httpx.AsyncClient, vendors: Vendors) -> None:
    runs_code = Spoken(words=0, tool_calls=[call("code_interpreter", code="2 ** 10")])
    vendors.says("power for anthropic", runs_code, Spoken(words=1))
    body = {"model": "anthropic-fake", "input": "power for anthropic", "tools": [PYTHON], "include": OUTPUTS}
    response = await create(client, **body)
    assert types(response) == ["code_interpreter_call", "message"]
    assert response["output"][0]["outputs"] == [{"type": "logs", "logs": "1024\n"}]
    assert "1024" in str(vendors.asked("anthropic", "power for anthropic")[-1])


async def test_code_reads_the_files_of_the_requests_input(client: httpx.AsyncClient, upstream: Upstream) -> None:
    sent = {"file": ("notes.txt", b"a note"), "purpose": (None, "user_data")}
    file = (await client.post("/v1/files", files=sent)).json()
    script(upstream, "read my notes", runs("open('notes.txt').read()"), Script(words=1))
    parts = [{"type": "input_text", "text": "read my notes"}, {"type": "input_file", "file_id": file["id"]}]
    await create(client, model="fake", input=[{"role": "user", "content": parts}], tools=[PYTHON])
    assert told(upstream) == ["'a note'\n"]


async def test_a_deleted_response_takes_its_container_along(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    script(upstream, "to be deleted", runs("x = 'a secret of this test'"), Script(words=1))
    first = await create(client, model="fake", input="to be deleted", tools=[PYTHON])
    container = first["output"][0]["container_id"]
    assert (await client.delete(f"/v1/responses/{first['id']}")).status_code == 200
    named = {"type": "code_interpreter", "container": container}
    again = await client.post("/v1/responses", json={"model": "fake", "input": "x", "tools": [named]})
    is_error(again, 400, "invalid_value", "tools[0].container")


async def test_code_reads_the_files_that_the_request_names_and_writes_files_of_its_own(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    sent = {"file": ("../sales.csv", b"city,sum\nBerlin,2\nParis,40\n"), "purpose": (None, "user_data")}
    file = (await client.post("/v1/files", files=sent)).json()
    reads = "import csv, os\nprint(os.listdir('/mnt/data'))\nrows = list(csv.DictReader(open('/mnt/data/sales.csv')))"
    writes = "print(sum(int(row['sum']) for row in rows))\n_ = open('/mnt/data/sum.txt', 'w').write('42')"
    gives = Script(literal="Here: 【2:1】.")
    script(upstream, "sum the sales", runs(reads), runs(writes, "b"), gives)
    tool = {"type": "code_interpreter", "container": {"type": "auto", "file_ids": [file["id"]]}}
    events = await collect(client, {"input": "sum the sales", "tools": [tool]})
    response = check_whole(events, "Here: [sum.txt](sandbox:/mnt/data/sum.txt).")
    first, second = told(upstream)
    assert first == "['sales.csv']\n"
    assert second.startswith("42\n\n\nFiles written:\n【2:1】 /mnt/data/sum.txt (2 bytes)\n\nTo give a file")
    assert "The files of the user are there." in upstream.requests[-1]["tools"][0]["function"]["description"]
    container, text = response["output"][1]["container_id"], response["output"][2]["content"][0]
    (cited,) = text["annotations"]
    assert cited == {
        "type": "container_file_citation",
        "container_id": container,
        "file_id": cited["file_id"],
        "filename": "sum.txt",
        "start_index": 6,
        "end_index": len(text["text"]) - 1,
    }
    path = f"/v1/containers/{container}/files"
    assert (await client.get(f"{path}/{cited['file_id']}/content")).content == b"42"
    assert [one["path"] for one in (await client.get(path)).json()["data"]] == [
        "/mnt/data/sum.txt",
        "/mnt/data/sales.csv",
    ]
    unknown = {"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-unknown"]}}
    answer = await client.post("/v1/responses", json={"model": "fake", "input": "x", "tools": [unknown]})
    is_error(answer, 404, "not_found", "tools[0].container.file_ids")


@pytest.mark.parametrize(
    ("container", "code", "param"),
    [
        (None, "missing_required_parameter", "tools[0].container"),
        (7, "invalid_type", "tools[0].container"),
        ("cntr_unknown", "invalid_value", "tools[0].container"),
        ("cntr_" + "0" * 53, "invalid_value", "tools[0].container"),
        ({"type": "other"}, "invalid_value", "tools[0].container.type"),
        ({"type": "auto", "file_ids": "file-1"}, "invalid_type", "tools[0].container.file_ids"),
        ({"type": "auto", "file_ids": ["f"] * 51}, "invalid_value", "tools[0].container.file_ids"),
        ({"type": "auto", "memory_limit": "9g"}, "invalid_value", "tools[0].container.memory_limit"),
        (
            {"type": "auto", "network_policy": {"type": "allowlist", "allowed_domains": ["example.com"]}},
            "unsupported_parameter",
            "tools[0].container.network_policy",
        ),
    ],
)
async def test_a_container_that_cannot_be_had_is_an_error_before_anything_starts(
    client: httpx.AsyncClient, container: Any, code: str, param: str
) -> None:
    tool = {"type": "code_interpreter", "container": container}
    body = {"model": "fake", "input": "x", "tools": [{k: v for k, v in tool.items() if v is not None}]}
    is_error(await client.post("/v1/responses", json=body), 400, code, param)


async def _an_interpreter_runs() -> bool:
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if file.read_bytes().endswith(b"monty\0subprocess\0"):
                return True
    return False


@pytest.mark.campaign
async def test_files_of_code_whose_worker_is_killed_are_written_once_and_read_by_another(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream
) -> None:
    begins = "open('log', 'w').write('begun ')"
    slow = "import time\nopen('log', 'a').write('once ')\ntime.sleep(1.5)"
    reads = "open('log').read()"
    script(upstream, "kill the writer", runs(begins), runs(slow, "b"), runs(reads, "c"), Script(words=1))
    events: list[Event] = []
    stream = events_of(client, {"input": "kill the writer", "tools": [PYTHON], "include": OUTPUTS})
    async for event in stream:
        events.append(event)
        if event["type"] == "response.code_interpreter_call.interpreting" and event["output_index"] == 1:
            break
    await until(_an_interpreter_runs)
    await asyncio.gather(stack.kill("worker-0"), stack.kill("worker-1"))
    await asyncio.gather(stack.start("worker-0"), stack.start("worker-1"))
    async for event in stream:
        events.append(event)
    final = check_whole(events, "w0 ")
    assert final["output"][2]["outputs"] == [{"type": "logs", "logs": "'begun once '\n"}]
    (file,) = (await client.get(f"/v1/containers/{final['output'][0]['container_id']}/files")).json()["data"]
    assert (file["path"], file["bytes"]) == ("/mnt/data/log", len("begun once "))


@pytest.mark.campaign
async def test_code_whose_worker_is_killed_has_its_effect_once(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream
) -> None:
    slow = "import time\ntime.sleep(1.5)\nx += 1"
    script(upstream, "kill the code", runs("x = 0"), runs(slow, "b"), runs("x", "c"), Script(words=1))
    events: list[Event] = []
    stream = events_of(client, {"input": "kill the code", "tools": [PYTHON], "include": OUTPUTS})
    async for event in stream:
        events.append(event)
        if event["type"] == "response.code_interpreter_call.interpreting" and event["output_index"] == 1:
            break
    await until(_an_interpreter_runs)
    await asyncio.gather(stack.kill("worker-0"), stack.kill("worker-1"))
    await asyncio.gather(stack.start("worker-0"), stack.start("worker-1"))
    async for event in stream:
        events.append(event)
    final = check_whole(events, "w0 ")
    assert final["output"][2]["outputs"] == [{"type": "logs", "logs": "1\n"}]
