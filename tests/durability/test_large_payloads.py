"""Payloads that Temporal would refuse, through a real server; what the files must survive, without one."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import Client, WorkflowHandle, WorkflowHistory
from temporalio.converter import (
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
    StorageDriverWorkflowInfo,
)
from temporalio.service import RPCError
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, Worker

from dev import services
from open_responses.ids import new_id
from open_responses.io.temporal.codec import DATA_CONVERTER
from open_responses.io.temporal.large_payloads import (
    ClaimBroken,
    FileStorageDriver,
    data_converter,
    forget_payloads,
    sweep,
)

pytestmark = pytest.mark.campaign

# Over Temporal's 2 MiB after compression, and small enough for a quick test; 20 MB was tried, too.
MEGABYTES = float(os.environ.get("LARGE_PAYLOAD_MEGABYTES", "4"))
QUEUE = "large"
SHORT = timedelta(seconds=60)


def large(seed: int) -> str:
    return base64.b64encode(random.Random(seed).randbytes(int(MEGABYTES * 750_000))).decode()


# --- through a server


@activity.defn
async def shout(text: str) -> str:
    return f"{text}!"


@activity.defn
async def answered_elsewhere() -> str:
    activity.raise_complete_async()


@workflow.defn
class Carrier:
    """Every way in and out of a workflow, each with a payload of its own."""

    def __init__(self) -> None:
        self.text = ""
        self.signalled = ""

    @workflow.run
    async def run(self, text: str, is_second_run: bool = False) -> str:
        self.text = text
        if is_second_run:
            return f"{text} and done"
        self.text = await workflow.execute_activity(shout, self.text, start_to_close_timeout=SHORT)
        self.text = await workflow.execute_local_activity(shout, self.text, start_to_close_timeout=SHORT)
        self.text += await workflow.execute_activity(
            answered_elsewhere, activity_id="elsewhere", start_to_close_timeout=SHORT
        )
        await workflow.wait_condition(lambda: bool(self.signalled))
        return workflow.continue_as_new(args=[self.text + self.signalled, True])

    @workflow.signal
    def say(self, text: str) -> None:
        self.signalled = text

    @workflow.query
    def reversed(self) -> str:
        return self.text[::-1]

    @workflow.update
    def ask(self, text: str) -> str:
        return f"{text}?"


@pytest_asyncio.fixture(scope="module")
async def address(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    port, data = services.free_port(), tmp_path_factory.mktemp("large")
    service = services.temporal(port, data)
    process = service.start(data)
    try:
        assert await services.wait_ready(service, process, 30)
        yield f"127.0.0.1:{port}"
    finally:
        await services.stop(process)


@pytest_asyncio.fixture(scope="module")
async def client(address: str, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return await Client.connect(address, data_converter=data_converter(tmp_path_factory.mktemp("blobs")))


async def test_every_way_in_and_out_of_a_workflow_takes_a_large_payload(client: Client) -> None:
    given, elsewhere, signalled, asked = (large(seed) for seed in range(4))
    runner = UnsandboxedWorkflowRunner()
    worker = Worker(
        client, task_queue=QUEUE, workflows=[Carrier], activities=[shout, answered_elsewhere], workflow_runner=runner
    )
    async with worker:
        handle = await client.start_workflow(Carrier.run, given, id="carrier", task_queue=QUEUE)
        await complete_elsewhere(client, handle, elsewhere)
        whole = f"{given}!!{elsewhere}"
        await until(handle, whole[::-1])
        assert await handle.execute_update(Carrier.ask, asked) == f"{asked}?"
        await handle.signal(Carrier.say, signalled)
        assert await handle.result() == f"{whole}{signalled} and done"

    first = await client.get_workflow_handle("carrier", run_id=handle.first_execution_run_id).fetch_history()
    second = await client.get_workflow_handle("carrier").fetch_history()
    assert await started_with(client, first) == [given]
    assert await started_with(client, second) == [f"{whole}{signalled}", True]
    assert len(first.to_json()) + len(second.to_json()) < 100_000
    replayer = Replayer(workflows=[Carrier], data_converter=client.data_converter, workflow_runner=runner)
    await replayer.replay_workflow(first)
    await replayer.replay_workflow(second)


async def test_without_external_storage_temporal_refuses(address: str) -> None:
    plain = await Client.connect(address, data_converter=data_converter(None))
    with pytest.raises(RPCError):
        await plain.start_workflow(Carrier.run, large(0), id="refused", task_queue=QUEUE)


async def test_a_client_without_the_directory_is_told_which_variable_to_set(
    client: Client, address: str, tmp_path: Path
) -> None:
    await client.start_workflow(Carrier.run, large(0), id="elsewhere", task_queue="nobody")
    other = await Client.connect(address, data_converter=data_converter(tmp_path))
    with pytest.raises(ClaimBroken, match="OPEN_RESPONSES_BLOB_DIR"):
        await started_with(other, await other.get_workflow_handle("elsewhere").fetch_history())


async def complete_elsewhere(client: Client, handle: WorkflowHandle[Carrier, str], text: str) -> None:
    deadline = time.monotonic() + 20
    while "elsewhere" not in await running_activities(handle):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    await client.get_async_activity_handle(workflow_id=handle.id, run_id=None, activity_id="elsewhere").complete(text)


async def running_activities(handle: WorkflowHandle[Carrier, str]) -> set[str]:
    described = await handle.describe()
    pending = described.raw_description.pending_activities
    return {one.activity_id for one in pending if one.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED}


async def until(handle: WorkflowHandle[Carrier, str], expected: str) -> None:
    deadline = time.monotonic() + 20
    while await handle.query(Carrier.reversed) != expected:
        assert time.monotonic() < deadline


async def started_with(client: Client, history: WorkflowHistory) -> list[object]:
    payloads = history.events[0].workflow_execution_started_event_attributes.input.payloads
    return await client.data_converter.decode(payloads)


# --- the files


def payload(text: bytes) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=text)


async def stored(directory: Path, *texts: bytes) -> list[StorageDriverClaim]:
    return await FileStorageDriver(directory).store(StorageDriverStoreContext(), [payload(text) for text in texts])


async def read(directory: Path, *claims: StorageDriverClaim) -> list[bytes]:
    found = await FileStorageDriver(directory).retrieve(StorageDriverRetrieveContext(), claims)
    return [one.data for one in found]


def files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


def age(directory: Path, seconds: float) -> None:
    for path in files(directory):
        os.utime(path, (time.time() - seconds,) * 2)


def test_without_a_directory_nothing_changes() -> None:
    assert data_converter(None) is DATA_CONVERTER


async def test_only_large_payloads_leave_the_history(tmp_path: Path) -> None:
    converter = data_converter(tmp_path)
    small, big = await converter.encode(["small", large(0)])
    assert (len(small.external_payloads), len(big.external_payloads)) == (0, 1)
    assert await converter.decode([small, big]) == ["small", large(0)]


async def test_payloads_come_back_in_order(tmp_path: Path) -> None:
    claims = await stored(tmp_path / "made" / "on demand", b"one", b"two", b"one")
    assert await read(tmp_path / "made" / "on demand", *reversed(claims)) == [b"one", b"two", b"one"]


async def test_a_claim_holds_hash_and_size_and_names_the_file(tmp_path: Path) -> None:
    (claim,) = await stored(tmp_path, b"text")
    digest = claim.claim_data["sha256"]
    assert set(claim.claim_data) == {"sha256", "size"}
    assert files(tmp_path) == [tmp_path / digest[:2] / digest]
    assert claim.claim_data["size"] == str(files(tmp_path)[0].stat().st_size)


async def test_what_is_there_is_touched_and_not_written(tmp_path: Path) -> None:
    await stored(tmp_path, b"text")
    age(tmp_path, 3600)
    (path,) = files(tmp_path)
    inode = path.stat().st_ino
    await stored(tmp_path, b"text")
    assert files(tmp_path) == [path]
    assert path.stat().st_ino == inode
    assert time.time() - path.stat().st_mtime < 60


async def test_many_stores_of_one_payload_leave_one_whole_file(tmp_path: Path) -> None:
    text = os.urandom(300_000)
    claims = await asyncio.gather(*(stored(tmp_path, text) for _ in range(20)))
    assert len({claim.claim_data["sha256"] for (claim,) in claims}) == 1
    assert len(files(tmp_path)) == 1
    assert await read(tmp_path, claims[0][0]) == [text]


async def test_a_missing_file_is_named_with_its_directory(tmp_path: Path) -> None:
    (claim,) = await stored(tmp_path, b"text")
    with pytest.raises(ClaimBroken) as caught:
        await read(tmp_path / "other", claim)
    message = str(caught.value)
    assert claim.claim_data["sha256"] in message
    assert str(tmp_path / "other") in message
    assert "OPEN_RESPONSES_BLOB_DIR" in message


async def test_a_damaged_file_is_noticed(tmp_path: Path) -> None:
    (claim,) = await stored(tmp_path, b"secret text")
    files(tmp_path)[0].write_bytes(b"secret t")
    with pytest.raises(ClaimBroken, match="damaged") as caught:
        await read(tmp_path, claim)
    assert "secret t" not in str(caught.value)


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 64 + "\n"])
async def test_a_claim_leads_to_no_other_file(tmp_path: Path, digest: str) -> None:
    with pytest.raises(ClaimBroken, match="names no SHA-256"):
        await read(tmp_path, StorageDriverClaim({"sha256": digest, "size": "1"}))


async def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="no space left"):
        await stored(tmp_path, b"text")
    assert files(tmp_path) == []


async def test_sweep_removes_what_is_old_and_counts_it(tmp_path: Path) -> None:
    old = await stored(tmp_path, b"old", b"older")
    (left_by_a_dead_process := files(tmp_path)[0].with_suffix(".1.part")).touch()
    age(tmp_path, 3600)
    new = await stored(tmp_path, b"new")
    assert await sweep(tmp_path, 1800) == 2
    assert not left_by_a_dead_process.exists()
    assert await read(tmp_path, *new) == [b"new"]
    with pytest.raises(ClaimBroken):
        await read(tmp_path, old[0])


async def test_sweep_of_no_directory_finds_nothing(tmp_path: Path) -> None:
    assert await sweep(tmp_path / "not there", 0) == 0


async def test_a_payload_that_is_stored_again_during_a_sweep_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (claim,) = await stored(tmp_path, b"text")
    age(tmp_path, 3600)
    rename = Path.rename

    def touched_just_before(self: Path, target: Path) -> Path:
        os.utime(self)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", touched_just_before)
    assert await sweep(tmp_path, 1800) == 0
    assert await read(tmp_path, claim) == [b"text"]
    assert len(files(tmp_path)) == 1


async def test_sweeps_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    await stored(tmp_path, *(str(number).encode() for number in range(200)))
    age(tmp_path, 3600)
    assert sum(await asyncio.gather(*(sweep(tmp_path, 1800) for _ in range(4)))) == 200
    assert files(tmp_path) == []


# --- the folders of responses and conversations


async def stored_for(directory: Path, owner: str, text: bytes) -> StorageDriverClaim:
    context = StorageDriverStoreContext(target=StorageDriverWorkflowInfo(namespace="default", id=owner))
    (claim,) = await FileStorageDriver(directory).store(context, [payload(text)])
    return claim


@pytest.mark.parametrize("prefix", ["resp_", "conv_"])
async def test_the_payloads_of_one_owner_share_a_folder_and_go_together(tmp_path: Path, prefix: str) -> None:
    one, other = new_id(prefix), new_id(prefix)
    claims = [await stored_for(tmp_path, owner, b"same") for owner in (one, other)]
    assert {path.parent.name for path in files(tmp_path)} == {one, other}
    assert await read(tmp_path, *claims) == [b"same", b"same"]
    await forget_payloads(tmp_path, one)
    assert await read(tmp_path, claims[1]) == [b"same"]
    with pytest.raises(ClaimBroken, match="or its response was deleted"):
        await read(tmp_path, claims[0])


async def test_an_old_folder_is_swept_away(tmp_path: Path) -> None:
    await stored_for(tmp_path, new_id("resp_"), b"old")
    age(tmp_path, 3600)
    assert await sweep(tmp_path, 1800) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("owner", ["..", "resp_", "resp_../../etc", "keys", "/etc"])
async def test_other_names_own_no_folder(tmp_path: Path, owner: str) -> None:
    claim = await stored_for(tmp_path, owner, b"text")
    assert "of" not in claim.claim_data
    with pytest.raises(ClaimBroken, match="names no owner"):
        await read(tmp_path, StorageDriverClaim({**claim.claim_data, "of": owner}))
    await forget_payloads(tmp_path, owner)
    assert await read(tmp_path, claim) == [b"text"]
