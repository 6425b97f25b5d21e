"""What was erased stays erased: no writer that comes late brings it back, and a crash in between leaves nothing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import orjson
import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.lifecycle.finish import FinishActivity
from activities.worker.dead_worker_takeover import WorkerTakeover
from api.app_state import AppState
from api.responses.approval_holds import let_go
from api.responses.prepare import Prepared
from api.responses.start import start_response
from open_responses.config import Config
from open_responses.events.fold import Fold
from open_responses.ids import new_id
from open_responses.io.log.appender import Appender
from open_responses.io.log.reader_copies import ReaderCopies
from open_responses.io.log.writer import Fenced, Writer
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis
from open_responses.io.redis.rate_limits import Used
from open_responses.io.store.erasure import Eraser
from open_responses.io.store.outside_ends import DELETED, OutsideEnds
from open_responses.io.store.redis_store import ResponseStore
from open_responses.io.temporal.erasure_marks import ErasureMarks
from open_responses.io.temporal.large_payloads import response_keys
from open_responses.io.temporal.search_attributes import NamespaceAttributes
from open_responses.loop.payloads.approvals import Decision
from open_responses.loop.payloads.ending import Ending
from open_responses.loop.payloads.finish import FinishedResponse, FinishInput
from open_responses.loop.payloads.start import StartResponse
from open_responses.schema.requests import CreateResponse
from tests.support import temporal_client
from tests.support.fake_upstream import Script, Upstream
from tests.support.lasting_keys import keys_without_ttl
from tests.support.small_stack import keys_with
from tests.support.stack import Stack, until

pytestmark = pytest.mark.campaign

Late = Callable[[], Awaitable[object]]


@pytest.fixture
def store(redis: Redis) -> ResponseStore:
    return ResponseStore(redis, ttl_seconds=600, log_ttl_seconds=600)


@pytest_asyncio.fixture
async def temporal(stack: Stack) -> Client:
    return await temporal_client.client_of_temporal(stack)


@pytest_asyncio.fixture
async def appender(redis: Redis) -> AsyncIterator[Appender]:
    appender = Appender(redis, ttl_seconds=600)
    running = asyncio.create_task(appender.run())
    yield appender
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def started(text: str, *, store: bool = True, **fields: Any) -> StartResponse:
    return StartResponse(
        response_id=new_id("resp_"),
        tenant="default",
        # A live worker ends responses that have been open for long and have no run.
        created_at=int(time.time()),
        request=CreateResponse(model="fake", input=text, store=store),
        provider="fake",
        upstream_model="fake",
        retry_window=1,
        **fields,
    )


def finished(text: str) -> FinishedResponse:
    return FinishedResponse(response={"output": [{"content": text}], "usage": None}, trace=[])


def forgets(stack: Stack, temporal: Client, store: ResponseStore) -> Eraser:
    """An eraser in the test's process, of the stack's responses."""
    blobs = stack.data / "blobs"
    return Eraser(store, temporal, blobs, response_keys(blobs), patience_seconds=60)


async def is_unknown(temporal: Client, workflow_id: str) -> bool:
    try:
        await temporal.get_workflow_handle(workflow_id).describe()
    except RPCError as error:
        return error.status == RPCStatusCode.NOT_FOUND
    return False


# --- late writers


def late_writers(
    store: ResponseStore, redis: Redis, appender: Appender, start: StartResponse, marks: ErasureMarks
) -> dict[str, Late]:
    """Each way in which a process writes a response's content, as one that was stalled would do it now."""
    text = start.request.input
    assert isinstance(text, str)
    writer = Writer(appender, start.response_id, fence=7 << 20, initial=start.initial(), fold=Fold())
    outside_ends = OutsideEnds(store, cast(Client, None))
    finishing = FinishActivity(redis, store, appender, marks, outside_ends, 600)
    call = FinishInput(
        start=start,
        epoch=9,
        ending=Ending(status="completed"),
        output=finished(text).response["output"],
        trace=[],
        cut_off=False,
        usage=None,
        ended_at=1,
    )

    async def write() -> None:
        writer.record({"turn:1": text.encode()})
        writer.write([{"type": "open_responses:test", "text": text}])
        await writer.flush()

    async def append() -> None:
        with pytest.raises(Fenced):
            await write()

    async def finish() -> None:
        with pytest.raises(Fenced):
            await finishing.finish(call)

    async def answer() -> None:
        copies = ReaderCopies(redis, limit_bytes=10**6)
        copies.add(start.response_id, 0, [text.encode()])
        await copies.answer(start.response_id, b"7 0")

    return {
        "a start": lambda: store.begin(start, ()),
        "a start that is given up": lambda: store.retract(start.response_id, b"another"),
        "an end": lambda: store.finish(start, orjson.dumps(finished(text).response), [], Used(0)),
        "a record from Temporal": lambda: store.restore(start, (), finished(text)),
        "a request from Temporal": lambda: store.restore(start, (), None),
        "an append": append,
        "a finish": finish,
        "an end from outside": lambda: outside_ends.write(start, DELETED, 0),
        "a copy of a reader": answer,
        "a cancel": lambda: store.request_cancel(start.response_id),
        "the age of the log": lambda: store.age_log(start),
    }


NAMES = [
    "a start",
    "a start that is given up",
    "an end",
    "a record from Temporal",
    "a request from Temporal",
    "an append",
    "a finish",
    "an end from outside",
    "a copy of a reader",
    "a cancel",
    "the age of the log",
]


@pytest.mark.parametrize("is_stored", [True, False])
@pytest.mark.parametrize("name", NAMES)
async def test_no_late_writer_brings_a_deleted_response_back(
    stack: Stack, redis: Redis, store: ResponseStore, appender: Appender, tmp_path: Path, name: str, is_stored: bool
) -> None:
    start = started(f"erased {name}", store=is_stored)
    late = late_writers(store, redis, appender, start, ErasureMarks(tmp_path))
    assert set(late) == set(NAMES)
    assert await store.begin(start, ())
    assert await keys_with(stack, f"erased {name}")
    await store.delete(start.response_id)
    for _ in range(2):
        await late[name]()
        assert await keys_with(stack, f"erased {name}") == []
    assert await redis.hgetall(key_names.record(start.response_id)) == {b"deleted": b"1"}  # type: ignore[misc]
    state = await redis.hgetall(key_names.state(start.response_id))  # type: ignore[misc]
    assert list(state) == [b"fence"]
    assert await redis.ttl(key_names.state(start.response_id)) > 23 * 3600


async def test_the_end_of_a_response_that_was_deleted_lists_the_deletion_again(
    redis: Redis, store: ResponseStore, appender: Appender, tmp_path: Path
) -> None:
    """Its workflow was started beside the deletion, which found none in Temporal."""
    start, marks = started("begun beside"), ErasureMarks(tmp_path)
    await store.delete(start.response_id)
    await late_writers(store, redis, appender, start, marks)["a finish"]()
    assert marks.promised() == [start.response_id]


async def test_a_deleted_response_stays_deleted_when_its_key_comes_again(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    script = upstream.says("deleted for good", Script(words=2))
    body, head = {"model": "fake", "input": "deleted for good"}, {"idempotency-key": "for good"}
    first = (await client.post("/v1/responses", json=body, headers=head)).json()
    assert (await client.delete(f"/v1/responses/{first['id']}")).status_code == 200
    for lost in (False, True):
        again = await client.post("/v1/responses", json=body, headers=head)
        assert (again.status_code, again.json()["error"]["code"]) == (409, "idempotency_key_spent")
        assert await keys_with(stack, "deleted for good") == []
        if not lost:
            await stack.flush()
    assert script.attempts == 1


# --- deletions that are cut off


async def test_a_deletion_that_a_crash_cut_off_is_finished_by_a_worker(
    client: httpx.AsyncClient, stack: Stack, store: ResponseStore, temporal: Client, upstream: Upstream
) -> None:
    """Behind its tombstone the client's next DELETE is a 404: nobody else would come back for the rest."""
    upstream.says("cut off", Script(words=2))
    response_id = (await client.post("/v1/responses", json={"model": "fake", "input": "cut off"})).json()["id"]
    eraser = forgets(stack, temporal, store)

    class Crash(BaseException):
        pass

    async def crash(*_: object) -> None:
        raise Crash

    eraser._forget = crash  # type: ignore[method-assign, assignment]
    with pytest.raises(Crash):
        await eraser.delete(response_id)
    assert (await client.delete(f"/v1/responses/{response_id}")).status_code == 404
    await stack.flush()
    assert (await client.get(f"/v1/responses/{response_id}")).status_code == 404, "Temporal still has it"
    await until(lambda: is_unknown(temporal, response_id), 90)

    async def is_off_the_list() -> bool:
        return response_id not in eraser.marks.promised()

    await until(is_off_the_list, 30)


async def test_the_deletion_of_a_conversation_that_a_crash_cut_off_is_finished_by_a_worker(
    client: httpx.AsyncClient, stack: Stack, store: ResponseStore, temporal: Client
) -> None:
    conversation = (await client.post("/v1/conversations", json={})).json()["id"]
    ErasureMarks(stack.data / "blobs").promise(conversation)
    assert (await client.get(f"/v1/conversations/{conversation}")).status_code == 404
    await until(lambda: is_unknown(temporal, conversation), 90)


class _Runs:
    """A workflow's runs, of which one cannot be read at the moment."""

    def __init__(self, status: RPCStatusCode) -> None:
        self._error = RPCError("not now", status, b"")

    def get_workflow_handle(self, _: str, *, run_id: str) -> _Runs:
        return self

    async def fetch_history_events(self, **_: object) -> AsyncIterator[object]:
        raise self._error
        yield


@pytest.mark.parametrize("status", [RPCStatusCode.UNAVAILABLE, RPCStatusCode.PERMISSION_DENIED])
async def test_a_run_that_cannot_be_read_is_not_taken_for_the_first(status: RPCStatusCode, tmp_path: Path) -> None:
    """The runs before it would be left in Temporal."""
    unread = cast(Client, _Runs(status))
    eraser = Eraser(cast(ResponseStore, None), unread, tmp_path, response_keys(tmp_path), patience_seconds=1)
    with pytest.raises(RPCError):
        await eraser._run_before("resp_x", "run")
    gone = cast(Client, _Runs(RPCStatusCode.NOT_FOUND))
    eraser = Eraser(cast(ResponseStore, None), gone, tmp_path, response_keys(tmp_path), patience_seconds=1)
    assert await eraser._run_before("resp_x", "run") == ""


# --- starts that are given up


class _Refuses:
    """A Temporal that takes no workflow."""

    async def start_workflow(self, *_: object, **__: object) -> None:
        raise RPCError("blob data size exceeds limit", RPCStatusCode.INVALID_ARGUMENT, b"")

    async def count_workflows(self, *_: object) -> None:
        """Takes the query, so the namespace knows its attributes."""


def _state(store: ResponseStore, tmp_path: Path) -> AppState:
    async def nothing(*_: object) -> None:
        pass

    eraser = SimpleNamespace(prepare=nothing, marks=ErasureMarks(tmp_path))
    admission = SimpleNamespace(withdraw=nothing, doubt=nothing)
    return cast(
        AppState,
        SimpleNamespace(
            store=store,
            eraser=eraser,
            temporal=_Refuses(),
            admission=admission,
            settings=SimpleNamespace(start_patience_seconds=1, config=Config()),
            search_attributes=NamespaceAttributes(cast(Client, _Refuses())),
        ),
    )


async def test_a_start_that_fails_leaves_neither_record_nor_entry(
    stack: Stack, redis: Redis, store: ResponseStore, tmp_path: Path
) -> None:
    start = started("never begun")
    with pytest.raises(RPCError):
        await start_response(_state(store, tmp_path), Prepared(start, ()))
    assert await keys_with(stack, "never begun") == []
    assert await redis.zscore(key_names.OPEN, start.response_id) is None


async def test_a_start_that_is_given_up_leaves_the_mark_of_a_used_approval(
    redis: Redis, store: ResponseStore, tmp_path: Path
) -> None:
    """Two requests with one Idempotency-Key have one response id: the second gives up, the first has used it."""
    approval, first, other = new_id("mcpr_"), new_id("resp_"), new_id("resp_")
    decision = Decision(approval_request_id=approval, server_label="x", name="x", arguments="{}", approve=True)
    state = _state(store, tmp_path)
    assert await store.hold_approval(approval, first, 60)
    await store.keep_approval(approval, first)
    assert await store.hold_approval(approval, first, 60)
    await let_go(state, first, [decision])
    assert not await store.hold_approval(approval, other, 60)
    assert await redis.ttl(key_names.approval(approval)) > 60


async def test_a_held_approval_that_is_let_go_of_is_free(store: ResponseStore, tmp_path: Path) -> None:
    approval, first, other = new_id("mcpr_"), new_id("resp_"), new_id("resp_")
    decision = Decision(approval_request_id=approval, server_label="x", name="x", arguments="{}", approve=True)
    assert await store.hold_approval(approval, first, 60)
    assert not await store.hold_approval(approval, other, 60)
    await let_go(_state(store, tmp_path), first, [decision])
    assert await store.hold_approval(approval, other, 60)
    await store.let_go_of_approval(approval, other)


async def test_a_start_that_comes_again_after_the_end_is_not_listed_as_open(redis: Redis, store: ResponseStore) -> None:
    start = started("ended", nonce="one")
    assert await store.begin(start, ())
    assert await store.begin(start, ()), "the same command, sent twice because its reply was lost"
    await store.finish(start, orjson.dumps(finished("ended").response), [], Used(0))
    assert not await store.begin(start.model_copy(update={"nonce": "two"}), ())
    assert await redis.zscore(key_names.OPEN, start.response_id) is None


async def test_an_entry_among_the_open_responses_is_not_kept_alive_by_later_starts(
    redis: Redis, store: ResponseStore
) -> None:
    # A response that has no run is taken off the list once its start must have been made, or given up.
    a_while_ago = int(time.time()) - 400
    left = started("left").model_copy(update={"created_at": a_while_ago - 601})
    later = started("later").model_copy(update={"created_at": a_while_ago})
    await store.begin(left, ())
    await store.begin(later, ())
    assert await redis.zscore(key_names.OPEN, left.response_id) is None
    assert await redis.zscore(key_names.OPEN, later.response_id) is not None

    async def is_dead(_: str) -> bool:
        return True

    await WorkerTakeover(cast(Client, _Unknown()), redis).take_over({"a-dead-worker": []}, is_dead)
    assert await redis.zscore(key_names.OPEN, later.response_id) is None


class _Unknown:
    """A Temporal that knows no workflow."""

    def get_workflow_handle(self, _: str) -> _Unknown:
        return self

    async def describe(self) -> None:
        raise RPCError("workflow not found", RPCStatusCode.NOT_FOUND, b"")


# --- time to live


async def test_no_key_lives_for_ever(stack: Stack, client: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.says("mortal", Script(words=2))
    await client.post("/v1/responses", json={"model": "fake", "input": "mortal"})
    unknown = (await client.post("/v1/responses", json={"model": "fake", "input": "mortal", "store": False})).json()
    await client.post(f"/v1/responses/{unknown['id']}/cancel")
    assert await asyncio.to_thread(keys_without_ttl, stack.redis_url) == []
