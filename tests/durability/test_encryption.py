"""With `OPEN_RESPONSES_ENCRYPTION_KEYS`, Temporal and its files hold nothing that can be read without (issue 6)."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import string
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowHistory
from temporalio.converter import ActivitySerializationContext, WorkflowSerializationContext
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from dev.services import free_port
from open_responses.ids import new_id
from open_responses.io.redis.client import connect as connect_redis
from open_responses.io.sealing import Sealer, key_id
from open_responses.io.settings import ConfigError
from open_responses.io.temporal.client import connect
from open_responses.io.temporal.codec import DATA_CONVERTER, Codec
from open_responses.io.temporal.encryption_check import check_keys, lacks_marked_key
from open_responses.io.temporal.large_payloads import data_converter
from open_responses.io.temporal.payload_keys import PayloadKeys, PayloadUnreadable, ResponseKeys
from tests.support.encryption_keys import NEW, OLD, variable
from tests.support.fake_upstream import Fault, Script, Upstream
from tests.support.own_stack import client as client
from tests.support.own_stack import stack as stack
from tests.support.small_stack import client_of, files_with, small_stack
from tests.support.stack import Stack, check_whole, collect, until
from workflows.response import ResponseWorkflow

pytestmark = pytest.mark.campaign

ROOT = Path(__file__).parents[2]
TEXT = "canary-5b21c4"


def payload(text: bytes = b'"text"') -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=text)


# --- the codec


@given(st.binary(max_size=5000))
async def test_what_is_encrypted_comes_back(data: bytes) -> None:
    codec = Codec(PayloadKeys([NEW]))
    assert await codec.decode(await codec.encode([payload(data)])) == [payload(data)]


async def test_a_payload_shows_the_keys_name_and_nothing_else() -> None:
    (sealed,) = await Codec(PayloadKeys([NEW])).encode([payload(b"secret" * 1000)])
    assert dict(sealed.metadata) == {"encoding": b"binary/encrypted", "encryption-key-id": key_id(NEW).encode()}
    assert b"secret" not in sealed.SerializeToString()
    assert len(sealed.data) < 500, "compressed first: noise does not shrink"


async def test_the_same_payload_looks_different_each_time() -> None:
    codec = Codec(PayloadKeys([NEW]))
    assert len({(await codec.encode([payload()]))[0].data for _ in range(50)}) == 50


async def test_every_changed_bit_of_a_payload_is_noticed() -> None:
    codec = Codec(PayloadKeys([NEW]))
    (sealed,) = await codec.encode([payload()])
    for bit in range(len(sealed.data) * 8):
        changed = bytearray(sealed.data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(PayloadUnreadable, match="was changed"):
            await codec.decode([Payload(metadata=dict(sealed.metadata), data=bytes(changed))])
    for length in range(len(sealed.data)):
        with pytest.raises(PayloadUnreadable, match="was changed"):
            await codec.decode([Payload(metadata=dict(sealed.metadata), data=sealed.data[:length])])


async def test_after_a_rotation_the_new_key_encrypts_and_both_open() -> None:
    (old,) = await Codec(PayloadKeys([OLD])).encode([payload()])
    both = Codec(PayloadKeys([NEW, OLD]))
    (new,) = await both.encode([payload()])
    assert new.metadata["encryption-key-id"] == key_id(NEW).encode()
    assert await both.decode([old, new]) == [payload(), payload()]
    with pytest.raises(PayloadUnreadable, match=f"key {key_id(OLD)}.*OPEN_RESPONSES_ENCRYPTION_KEYS"):
        await Codec(PayloadKeys([NEW])).decode([old])


async def test_what_was_written_without_keys_stays_readable() -> None:
    before = await Codec().encode([payload(), payload(b"long" * 1000)])
    assert before[0] == payload()
    assert await Codec(PayloadKeys([NEW])).decode(before) == [payload(), payload(b"long" * 1000)]


async def test_another_fleets_payloads_are_plain_json() -> None:
    context = ActivitySerializationContext(
        namespace="default",
        activity_id="1",
        activity_type="word_count",
        activity_task_queue="typescript",
        workflow_id="resp_x",
        workflow_type="ResponseWorkflow",
        is_local=False,
    )
    assert await Codec(PayloadKeys([NEW])).with_context(context).encode([payload()]) == [payload()]


# --- a response's own key


def of(response_id: str) -> WorkflowSerializationContext:
    return WorkflowSerializationContext(namespace="default", workflow_id=response_id)


@pytest.mark.parametrize("shared", [[], [NEW]], ids=["no other keys", "with other keys"])
async def test_a_response_with_its_own_key_is_unreadable_once_that_is_thrown_away(
    tmp_path: Path, shared: list[bytes]
) -> None:
    own = ResponseKeys(tmp_path / "keys", Sealer(shared) if shared else None)
    codec, response_id = Codec(PayloadKeys(shared, own)), new_id("resp_")
    own.make(response_id)
    (sealed,) = await codec.with_context(of(response_id)).encode([payload()])
    assert sealed.metadata["encryption-key-id"] == response_id.encode()
    assert await codec.decode([sealed]) == [payload()], "the payload itself tells which key it takes"
    own.throw_away(response_id)
    with pytest.raises(PayloadUnreadable, match=r"has ended.*OPEN_RESPONSES_BLOB_DIR"):
        await codec.decode([sealed])
    assert list((tmp_path / "keys").iterdir()) == []


async def test_an_own_key_on_disk_is_sealed_where_there_is_something_to_seal_it_with(tmp_path: Path) -> None:
    own, response_id = ResponseKeys(tmp_path, Sealer([NEW])), new_id("resp_")
    own.make(response_id)
    content = (tmp_path / response_id).read_text()
    assert content.startswith("sealed:v1:")
    assert (tmp_path / response_id).stat().st_mode & 0o777 == 0o600
    with pytest.raises(PayloadUnreadable, match="is not set here"):
        ResponseKeys(tmp_path).find(response_id)
    with pytest.raises(PayloadUnreadable, match="does not have"):
        ResponseKeys(tmp_path, Sealer([OLD])).find(response_id)


def test_a_key_is_made_once_and_stays(tmp_path: Path) -> None:
    own, response_id = ResponseKeys(tmp_path), new_id("resp_")
    own.make(response_id)
    key = own.find(response_id)
    own.make(response_id)
    assert own.find(response_id) == key
    assert len(key or b"") == 32


@pytest.mark.parametrize("workflow_id", ["", "approval", "../../etc/passwd", "resp_", "resp_" + "g" * 48])
def test_other_ids_lead_to_no_file(tmp_path: Path, workflow_id: str) -> None:
    assert ResponseKeys(tmp_path).find(workflow_id) is None


def test_only_what_nobody_has_touched_for_a_while_is_found(tmp_path: Path) -> None:
    own = ResponseKeys(tmp_path)
    ids = [new_id("resp_") for _ in range(2)]
    for response_id in ids:
        own.make(response_id)
    assert sorted(own.silent_for(-1)) == sorted(ids)
    assert list(own.silent_for(60)) == []


# --- through the servers


@pytest_asyncio.fixture(scope="module")
async def own_stack(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> AsyncIterator[Stack]:
    data = tmp_path_factory.mktemp("encrypted")
    async with small_stack(data, upstream, ENCRYPTION_KEYS=variable(OLD)) as stack:
        yield stack


async def history_of(stack: Stack, response_id: str) -> WorkflowHistory:
    """Once the workflow has closed."""
    temporal = await Client.connect(stack.temporal_address)
    handle = temporal.get_workflow_handle(response_id)

    async def has_closed() -> bool:
        return (await handle.describe()).close_time is not None

    await until(has_closed)
    return await handle.fetch_history()


def encodings(node: Any, *, above: str = "") -> set[str]:
    """The encodings of all payloads below, except search attributes, which Temporal itself reads, and the SDK's own
    markers: the name and time of a local activity, and the id of a patch."""
    if isinstance(node, list):
        return {found for one in node for found in encodings(one, above=above)}
    if not isinstance(node, dict) or above in ("searchAttributes", "data", "patch-data"):
        return set()
    if "metadata" in node and "encoding" in node["metadata"]:
        return {base64.b64decode(node["metadata"]["encoding"]).decode()}
    return {found for key, value in node.items() for found in encodings(value, above=key)}


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"id": f"call_{name}", "name": name, "arguments": json.dumps(arguments)}


async def test_neither_temporal_nor_files_show_what_was_said(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """Inputs, outputs, arguments of tools (which are in the summaries as well), results, errors."""
    tools = [{"type": "function", "name": name} for name in ("get_weather", "fails")]
    calls = [call("get_weather", city=f"city {TEXT}"), call("fails", final=False)]
    upstream.says(f"asks {TEXT}", Script(words=0, tool_calls=calls, turns=[Script(literal=f"done {TEXT}")]))
    body = {"input": f"asks {TEXT}", "instructions": f"instructions {TEXT}", "tools": tools}
    response = check_whole(await collect(client, body), f"done {TEXT}")
    history = await history_of(stack, response["id"])
    database = [place for place in files_with(stack.data, TEXT) if not place.startswith("valkey")]
    assert database == []
    assert "no such thing" not in history.to_json(), "what a failed tool said"
    assert encodings(json.loads(history.to_json())) == {"binary/encrypted"}


async def test_a_large_payload_is_noise_in_its_file(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    text = f"large {TEXT} " + "".join(random.Random(3).choices(string.ascii_lowercase, k=400_000))
    script = upstream.says(text, Script(words=3))
    response = check_whole(await collect(client, {"input": text}), script.text)
    folder = stack.data / "blobs" / response["id"]
    assert sum(file.stat().st_size for file in folder.iterdir()) > 128 * 1024
    assert files_with(stack.data / "blobs", TEXT) == []


async def test_a_failed_response_is_encrypted_as_well(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    upstream.says(f"fails {TEXT}", Script(faults=[Fault(status=400)]))
    response = (await collect(client, {"input": f"fails {TEXT}"}))[-1]["response"]
    history = (await history_of(stack, response["id"])).to_json()
    assert response["error"]["message"] not in history
    assert encodings(json.loads(history)) == {"binary/encrypted"}


async def test_an_encrypted_history_replays(client: httpx.AsyncClient, stack: Stack, upstream: Upstream) -> None:
    calls = [call("get_weather", city="Paris")]
    upstream.says("replay", Script(words=0, tool_calls=calls, turns=[Script(words=3)]))
    body = {"input": "replay", "tools": [{"type": "function", "name": "get_weather"}]}
    response = (await collect(client, body))[-1]["response"]
    history = await history_of(stack, response["id"])
    replayer = Replayer(
        workflows=[ResponseWorkflow],
        data_converter=data_converter(stack.data / "blobs", [NEW, OLD]),
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    await replayer.replay_workflow(history)


@pytest.mark.parametrize("keys", [None, variable(NEW)], ids=["none", "others"])
@pytest.mark.parametrize("flushed", [False, True])
async def test_a_process_without_the_others_keys_does_not_start(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream, keys: str | None, flushed: bool
) -> None:
    """Neither an API nor a worker: what it writes would be in clear, or unreadable for the rest."""
    upstream.says("encrypted by all", Script(words=1))
    await collect(client, {"input": "encrypted by all"})
    if flushed:
        await stack.flush()
    env = {**os.environ, **stack.env}
    env.pop("OPEN_RESPONSES_ENCRYPTION_KEYS")
    if keys is not None:
        env["OPEN_RESPONSES_ENCRYPTION_KEYS"] = keys
    commands = [["worker.py"], ["-m", "api", "--port", str(free_port())]]
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable, *command, env=env, cwd=ROOT, stdout=PIPE, stderr=asyncio.subprocess.STDOUT
        )
        for command in commands
    ]
    for process in started:
        output, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode, output.decode()
        assert "OPEN_RESPONSES_ENCRYPTION_KEYS" in output.decode()
        assert key_id(OLD) in output.decode()


async def test_keys_are_compared_where_nothing_can_be_read(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written yet, or Temporal is away: of those that start beside each other, all need the same keys."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:9")
    temporal = await connect(None, lazy=True)
    redis = connect_redis(stack.redis_url.replace("/0", "/7"))

    async def check(*keys: bytes) -> bool:
        return await check_keys(redis, temporal, keys, ttl_seconds=60)

    assert not await check(), "Temporal may still say otherwise"
    assert not await check(NEW, OLD)
    # Those that were there already are not ready any more.
    assert await lacks_marked_key(redis, [])
    assert await lacks_marked_key(redis, [OLD])
    assert not await lacks_marked_key(redis, [OLD, NEW])
    for keys in ([], [OLD]):
        with pytest.raises(ConfigError, match=key_id(NEW)):
            await check(*keys)
    # The rotation is over: the old key is taken out.
    await check(NEW)
    await redis.flushdb()
    await redis.aclose()


async def test_keys_are_rotated_without_losing_what_is_there(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """Old histories answer where Redis has forgotten: with the old key, and after a restart with both."""
    script = upstream.says("before the rotation", Script(words=5))
    before = check_whole(await collect(client, {"input": "before the rotation"}), script.text)
    await history_of(stack, before["id"])
    stack.env["OPEN_RESPONSES_ENCRYPTION_KEYS"] = variable(NEW, OLD)
    for name in ("worker-0", "worker-1", "api"):
        await stack.kill(name)
    await stack.heal()
    await stack.flush()
    assert (await client.get(f"/v1/responses/{before['id']}")).json() == before

    upstream.says("after the rotation", Script(words=4))
    after = (await collect(client, {"input": "after the rotation", "previous_response_id": before["id"]}))[-1]
    history = (await history_of(stack, after["response"]["id"])).to_json()
    assert base64.b64encode(key_id(NEW).encode()).decode() in history
    assert base64.b64encode(key_id(OLD).encode()).decode() not in history


async def test_histories_from_before_the_first_key_stay_readable(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    plain = await Client.connect(stack.temporal_address, data_converter=DATA_CONVERTER)
    encrypted = await Client.connect(stack.temporal_address, data_converter=data_converter(None, [NEW]))
    await plain.start_workflow("Nobody", "in clear", id="before-the-keys", task_queue="nobody")
    event = (await encrypted.get_workflow_handle("before-the-keys").fetch_history()).events[0]
    payloads = event.workflow_execution_started_event_attributes.input.payloads
    assert await encrypted.data_converter.decode(payloads) == ["in clear"]


async def test_the_first_keys_are_announced_and_begin(tmp_path: Path, upstream: Upstream) -> None:
    """A stack that ran in clear: those with keys start and say so, and from then on nobody joins without."""
    upstream.says("in clear until now", Script(words=2))
    async with small_stack(tmp_path, upstream) as stack, client_of(stack) as client:
        before = (await collect(client, {"input": "in clear until now"}))[-1]["response"]
        stack.env["OPEN_RESPONSES_ENCRYPTION_KEYS"] = variable(NEW)
        for name in ("worker-0", "worker-1", "api"):
            await stack.kill(name)
        await stack.heal()
        body = {"input": "in clear until now", "previous_response_id": before["id"]}
        after = (await collect(client, body))[-1]["response"]
        assert after["status"] == "completed"
        logs = "".join(log.read_text() for log in (stack.data / "logs").glob("*.log"))
        assert "encryption_begins" in logs
        del stack.env["OPEN_RESPONSES_ENCRYPTION_KEYS"]
        await stack.kill("api")
        process = stack.services["api"].start(stack.data / "logs")
        assert await asyncio.to_thread(process.wait, 60) != 0


def test_that_a_response_has_no_key_is_looked_up_once_for_a_dozen_payloads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, looked_up, response_id = ResponseKeys(tmp_path), list[str](), new_id("resp_")
    find = ResponseKeys.find
    monkeypatch.setattr(ResponseKeys, "find", lambda self, one: looked_up.append(one) or find(self, one))
    payload_keys = PayloadKeys(responses=keys)
    assert [payload_keys.encrypt(b"plain", response_id) for _ in range(12)] == [None] * 12
    assert looked_up == [response_id]
    keys.make(response_id)
    sealed = payload_keys.encrypt(b"plain", response_id)
    assert sealed is not None
    assert payload_keys.decrypt(*sealed) == b"plain"
