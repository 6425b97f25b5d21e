"""A workflow task that Temporal repeats, with what arrived in the meantime, does not change what clients were sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import orjson
import pytest
import pytest_asyncio
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from open_responses.context.transcript import denial
from open_responses.deltas import TextDelta, ToolCallDelta
from open_responses.events.event_types import TERMINAL_EVENTS
from open_responses.events.lifecycle import whole_stream
from open_responses.ids import new_id
from open_responses.io.redis import key_names
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.approvals import Decision
from open_responses.loop.payloads.finish import FinishedResponse, Progress
from open_responses.loop.payloads.names import CLAIM_APPROVALS, FINISH, PUBLISH
from open_responses.schema.mcp_tool import HOSTED_LABEL
from tests.support.repeated_task import GUARDED, TOOL, Bench, Running, bench
from tests.support.stack import Stack, until

pytestmark = pytest.mark.campaign

APPROVAL = "mcp_approval_request"


@pytest_asyncio.fixture
async def loop(stack: Stack) -> AsyncIterator[Bench]:
    async with bench(stack.temporal_address, stack.redis_url) as this:
        yield this


async def agrees(
    loop: Bench, running: Running, finished: FinishedResponse, *, has_diverged: bool = False
) -> JsonObject:
    """The log, the stored response and the workflow's result are one; returns the response. They agree as well where
    `finish` adopts a log that the workflow disagrees with: whether it did is a question of its own."""
    assert loop.finishing.has_diverged == has_diverged
    log = await running.log()
    assert [event["sequence_number"] for event in log] == list(range(len(log)))
    assert [event["type"] for event in log if event["type"] in TERMINAL_EVENTS] == [log[-1]["type"]]
    assert log[-1]["response"] == finished.response == await running.stored()
    assert list(whole_stream(loop.started.initial(), finished.response, finished.trace)) == log
    return finished.response


async def until_true(condition: Callable[[], bool]) -> None:
    async def is_true() -> bool:
        return condition()

    await until(is_true)


async def until_waits_for(running: Running, approval_id: str) -> None:
    """An update for an approval that the workflow does not wait for yet is refused."""

    async def is_waiting() -> bool:
        progress = await running.handle.query("progress", result_type=Progress)
        return any(item["id"] == approval_id for item in progress.output)

    await until(is_waiting)


async def nothing_pending(running: Running) -> None:
    async def is_idle() -> bool:
        return not (await running.handle.describe()).raw_description.pending_activities

    await until(is_idle)


async def test_a_cancel_behind_the_announced_end_changes_nothing(loop: Bench) -> None:
    loop.turns = [[TextDelta("hello")]]
    running: Running

    async def cancel() -> None:
        await running.handle.signal("cancel")
        # The next second: the time of the end is not to move either.
        await asyncio.sleep(1.1)

    loop.repetition.behind(FINISH, cancel)
    running = await loop.start({})
    finished = await running.result()
    assert loop.repetition.times == 1
    assert (await agrees(loop, running, finished))["status"] == "completed"


async def test_a_deadline_behind_the_announced_end_changes_nothing(loop: Bench) -> None:
    loop.turns = [[TextDelta("hello")]]
    loop.repetition.behind(FINISH, lambda: asyncio.sleep(1.5))
    running = await loop.start({}, deadline_seconds=1.0)
    finished = await running.result()
    assert loop.repetition.times == 1
    assert (await agrees(loop, running, finished))["status"] == "completed"


async def test_an_answer_behind_an_announced_cancellation_changes_nothing(loop: Bench) -> None:
    loop.turns = [[TextDelta("hello")]]
    is_written, released = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        is_written.set()
        await released.wait()

    async def release() -> None:
        released.set()
        await nothing_pending(running)
        await asyncio.sleep(1.1)

    loop.before_result = hold
    loop.repetition.behind(FINISH, release)
    running = await loop.start({})
    await asyncio.wait_for(is_written.wait(), 50)
    await running.handle.signal("cancel")
    finished = await running.result()
    assert loop.repetition.times == 1
    assert (await agrees(loop, running, finished))["status"] == "cancelled"


async def test_a_cancel_behind_an_announced_failure_changes_nothing(loop: Bench) -> None:
    running: Running

    async def fail() -> None:
        raise ApplicationError("no such model", type="model_not_found", non_retryable=True)

    async def cancel() -> None:
        await running.handle.signal("cancel")
        await asyncio.sleep(1.1)

    loop.before_answer = fail
    loop.repetition.behind(FINISH, cancel)
    running = await loop.start({})
    finished = await running.result()
    assert loop.repetition.times == 1
    assert (await agrees(loop, running, finished))["status"] == "failed"


async def test_a_redis_that_is_emptied_behind_the_announced_end_changes_nothing(loop: Bench) -> None:
    loop.turns = [[TextDelta("hello")]]
    running: Running
    told: list[JsonObject] = []

    async def lose() -> None:
        told.extend(await running.log())
        await loop.redis.delete(key_names.log(running.id), key_names.state(running.id), key_names.record(running.id))
        await running.handle.signal("cancel")
        await asyncio.sleep(1.1)

    loop.repetition.behind(FINISH, lose)
    running = await loop.start({})
    finished = await running.result()
    assert loop.repetition.times == 1
    assert (await agrees(loop, running, finished))["status"] == "completed"
    assert await running.log() == told


async def test_a_redis_that_is_emptied_behind_a_cancellation_loses_nothing_that_was_shown(loop: Bench) -> None:
    """The text of a sample that was cut off is known to the log alone, until the workflow has read it there."""
    loop.turns = [[TextDelta("half an ans")]]
    is_written, told = asyncio.Event(), list[JsonObject]()
    running: Running

    async def hold() -> None:
        is_written.set()
        await asyncio.Event().wait()

    async def lose() -> None:
        told.extend(await running.log())
        await loop.redis.delete(key_names.log(running.id), key_names.state(running.id), key_names.record(running.id))

    loop.before_end = hold
    loop.repetition.behind(FINISH, lose)
    running = await loop.start({})
    await asyncio.wait_for(is_written.wait(), 50)
    await running.handle.signal("cancel")
    finished = await running.result()
    assert loop.repetition.times == 1
    response = await agrees(loop, running, finished)
    assert response["status"] == "cancelled"
    assert [(item["status"], item["content"][0]["text"]) for item in response["output"]] == [
        ("incomplete", "half an ans")
    ]
    assert await running.log() == told


# --- events of the workflow's own


def called(*call_ids: str) -> list[ToolCallDelta]:
    return [ToolCallDelta(i, '{"city":"Paris"}', call_id, TOOL) for i, call_id in enumerate(call_ids)]


class Tools:
    """Calls that end when the test says so."""

    def __init__(self, loop: Bench) -> None:
        self.released: dict[str, asyncio.Event] = {}
        self.is_open = False
        loop.tool = self.run

    async def run(self, call: Any) -> JsonObject:
        call_id = call["context"]["call_id"]
        if not self.is_open:
            await asyncio.wait_for(self.released.setdefault(call_id, asyncio.Event()).wait(), 50)
        return {"outcome": "done", "output": f"result of {call_id}"}

    def release(self, call_id: str) -> None:
        self.released.setdefault(call_id, asyncio.Event()).set()

    def release_all(self) -> None:
        self.is_open = True
        for event in self.released.values():
            event.set()


async def test_progress_behind_a_published_result_does_not_take_its_number(loop: Bench) -> None:
    loop.turns = [called("call_a", "call_b"), [TextDelta("done")]]
    tools = Tools(loop)
    running: Running

    async def progress() -> None:
        await running.handle.signal("tool_progress", {"output_index": 3, "message": "half way"})

    # The first publication announces the outputs, the second is the first result.
    loop.repetition.behind(PUBLISH, progress, count=2)
    running = await loop.start({})
    tools.release("call_a")
    await until_true(lambda: loop.repetition.times == 1)
    tools.release("call_b")
    finished = await running.result()
    response = await agrees(loop, running, finished)
    assert [item.get("output") for item in response["output"][2:4]] == ["result of call_a", "result of call_b"]
    done = [event["output_index"] for event in await running.log() if event["type"] == "response.output_item.done"]
    assert sorted(done) == list(range(5))


async def test_a_result_behind_a_published_one_comes_after_it(loop: Bench) -> None:
    """The call that the model made second has ended first."""
    loop.turns = [called("call_a", "call_b"), [TextDelta("done")]]
    tools = Tools(loop)
    running: Running
    told: list[JsonObject] = []

    async def release() -> None:
        told.extend(await running.log())
        tools.release("call_a")
        await nothing_pending(running)

    # The first publication announces the outputs, the second is the result of `call_b`.
    loop.repetition.behind(PUBLISH, release, count=2)
    running = await loop.start({})
    tools.release("call_b")
    finished = await running.result()
    assert loop.repetition.times == 1
    response = await agrees(loop, running, finished)
    assert response["status"] == "completed", response["error"]
    log = await running.log()
    assert log[: len(told)] == told
    assert [e["output_index"] for e in log if e["type"] == "response.output_item.done"][2:4] == [3, 2]
    each_item_ends_once(log, response)


async def test_progress_behind_a_cancellation_is_not_shown(loop: Bench) -> None:
    """The items were closed without it, and clients were sent that."""
    loop.turns = [called("call_a"), [TextDelta("done")]]
    Tools(loop)
    running: Running
    told: list[JsonObject] = []

    async def progress() -> None:
        told.extend(await running.log())
        await running.handle.signal("tool_progress", {"output_index": 1, "message": "half way"})

    # The first publication announces the output, the second closes it.
    loop.repetition.behind(PUBLISH, progress, count=2)
    running = await loop.start({})

    async def is_announced() -> bool:
        return any(event.get("output_index") == 1 for event in await running.log())

    await until(is_announced)
    await running.handle.signal("cancel")
    finished = await running.result()
    assert loop.repetition.times == 1
    response = await agrees(loop, running, finished)
    assert response["status"] == "cancelled"
    log = await running.log()
    assert log[: len(told)] == told
    each_item_ends_once(log, response)


async def test_an_approval_behind_a_cancellation_is_refused(loop: Bench) -> None:
    loop.turns = [guarded("call_a"), [TextDelta("done")]]
    Tools(loop).release_all()
    running: Running
    answering: list[asyncio.Task[Any]] = []

    async def answer() -> None:
        told = {"approval_request_id": approval_id, "approve": True}
        answering.append(asyncio.create_task(running.handle.execute_update("answer_approval", told)))
        await asyncio.sleep(0.5)

    loop.repetition.behind(FINISH, answer)
    running = await loop.start({"background": True})
    approval_id = await only_request_of(running)
    await running.handle.signal("cancel")
    finished = await running.result()
    assert loop.repetition.times == 1
    with pytest.raises((WorkflowUpdateFailedError, RPCError)):
        await answering[0]
    response = await agrees(loop, running, finished)
    assert (response["status"], outcomes(response)) == ("cancelled", [])


@pytest.mark.parametrize("approve", [True, False])
async def test_an_approval_behind_a_published_result_waits_for_its_turn(loop: Bench, approve: bool) -> None:
    loop.turns = [[*called("call_a"), ToolCallDelta(1, "{}", "call_b", "guarded")], [TextDelta("done")]]
    tools = Tools(loop)
    running: Running
    answering: list[asyncio.Task[Any]] = []

    async def answer() -> None:
        approval = next(e["item"] for e in await running.log() if e.get("item", {}).get("type") == APPROVAL)
        told = {"approval_request_id": approval["id"], "approve": approve}
        answering.append(asyncio.create_task(running.handle.execute_update("answer_approval", told)))
        # Accepted, it is in history as an update of the next workflow task.
        await asyncio.sleep(0.5)

    loop.repetition.behind(PUBLISH, answer, count=2)
    running = await loop.start({"background": True})
    tools.release("call_a")
    await until_true(lambda: loop.repetition.times == 1)
    tools.release_all()
    finished = await running.result()
    await answering[0]
    assert loop.repetition.times == 1
    response = await agrees(loop, running, finished)
    assert response["status"] == "completed", response["error"]


async def test_a_result_behind_an_approved_call_does_not_take_its_number(loop: Bench) -> None:
    """The task that acts on the approval is repeated, and has a result as well by then: behind the approval's timer."""
    loop.turns = [[*called("call_a"), ToolCallDelta(1, "{}", "call_b", "guarded")], [TextDelta("done")]]
    tools = Tools(loop)
    running: Running
    told: list[JsonObject] = []

    async def release() -> None:
        told.extend(await running.log())
        tools.release("call_a")
        await nothing_pending(running)
        tools.release_all()

    # The first publication announces the output of `call_a`, the second is the approved call.
    loop.repetition.behind(PUBLISH, release, count=2)
    running = await loop.start({"background": True})

    async def is_asked() -> bool:
        return any(event.get("item", {}).get("type") == APPROVAL for event in await running.log())

    await until(is_asked)
    approval = next(e["item"] for e in await running.log() if e.get("item", {}).get("type") == APPROVAL)
    answer = {"approval_request_id": approval["id"], "approve": True}
    await until_waits_for(running, approval["id"])
    await running.handle.execute_update("answer_approval", answer)
    finished = await running.result()
    assert loop.repetition.times == 1
    response = await agrees(loop, running, finished)
    assert response["status"] == "completed", response["error"]
    log = await running.log()
    assert log[: len(told)] == told
    outputs = [item["output"] for item in response["output"] if item["type"] == "function_call_output"]
    assert len(outputs) == 2
    assert all(output.startswith("result of call_") for output in outputs)
    each_item_ends_once(log, response)


async def requests_of(running: Running) -> list[str]:
    """The ids of the approvals that clients have been asked for."""
    ended = [event["item"] for event in await running.log() if event["type"] == "response.output_item.done"]
    return [item["id"] for item in ended if item["type"] == APPROVAL]


async def only_request_of(running: Running) -> str:
    """The approval that the response waits for."""

    async def has_asked() -> bool:
        return len(await requests_of(running)) == 1

    await until(has_asked)
    (approval_id,) = await requests_of(running)
    await until_waits_for(running, approval_id)
    return approval_id


async def claims_in_history(running: Running) -> int:
    """How many activities have claimed approvals."""
    count = 0
    async for event in running.handle.fetch_history_events():
        details = event.marker_recorded_event_attributes.details
        count += any(CLAIM_APPROVALS.encode() in p.data for payloads in details.values() for p in payloads.payloads)
    return count


def guarded(*call_ids: str, first: int = 0) -> list[ToolCallDelta]:
    return [ToolCallDelta(first + i, "{}", call_id, "guarded") for i, call_id in enumerate(call_ids)]


def outcomes(response: JsonObject) -> list[str]:
    """Of the calls: "ran" for each that was run, and the text that the model reads for the others."""
    outputs = [item["output"] for item in response["output"] if item["type"] == "function_call_output"]
    return sorted("ran" if output.startswith("result of call_") else output for output in outputs)


@pytest.mark.parametrize("approve", [True, False])
async def test_a_task_that_claims_an_approval_claims_it_again_when_it_is_repeated(loop: Bench, approve: bool) -> None:
    loop.turns = [guarded("call_a"), [TextDelta("done")]]
    Tools(loop).release_all()

    async def nothing() -> None:
        pass

    loop.repetition.behind(CLAIM_APPROVALS, nothing)
    running = await loop.start({"background": True})
    approval_id = await only_request_of(running)
    answer = {"approval_request_id": approval_id, "approve": approve}
    await running.handle.execute_update("answer_approval", answer)
    finished = await running.result()
    assert loop.repetition.times == 1
    response = await agrees(loop, running, finished)
    assert response["status"] == "completed", response["error"]
    assert outcomes(response) == (["ran"] if approve else [denial(None)])


async def test_a_cancel_behind_a_claim_refuses_the_answer(loop: Bench) -> None:
    """No call is run or shown. The approval counts as used: the first run of the task claimed it."""
    loop.turns = [guarded("call_a"), [TextDelta("done")]]
    Tools(loop).release_all()
    running: Running

    async def cancel() -> None:
        await running.handle.signal("cancel")

    loop.repetition.behind(CLAIM_APPROVALS, cancel)
    running = await loop.start({"background": True})
    approval_id = await only_request_of(running)
    with pytest.raises(WorkflowUpdateFailedError):
        await running.handle.execute_update("answer_approval", {"approval_request_id": approval_id, "approve": True})
    finished = await running.result()
    assert loop.repetition.times == 1
    response = await agrees(loop, running, finished)
    assert (response["status"], outcomes(response)) == ("cancelled", [])


# A workflow task with a local activity receives nothing until it reports to Temporal, which it does at 80 % of this.
SHORT_TASK = timedelta(seconds=2)


async def attempted(loop: Bench, name: str) -> Callable[[], bool]:
    """Makes every attempt of this activity fail. Returns whether there was one."""
    began = asyncio.Event()

    async def begin() -> None:
        began.set()

    loop.repetition.unreachable.add(name)
    loop.repetition.before[name] = begin
    return began.is_set


async def test_a_response_whose_live_claim_cannot_get_through_ends_at_a_cancel(loop: Bench) -> None:
    loop.turns = [guarded("call_a"), [TextDelta("done")]]
    Tools(loop).release_all()
    is_claiming = await attempted(loop, CLAIM_APPROVALS)
    running = await loop.start({"background": True}, task_timeout=SHORT_TASK)
    answer = {"approval_request_id": await only_request_of(running), "approve": True}
    answering = asyncio.create_task(running.handle.execute_update("answer_approval", answer))
    await until_true(is_claiming)
    await running.handle.signal("cancel")
    finished = await running.result()
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await answering
    assert isinstance(refused.value.cause, ApplicationError)
    assert refused.value.cause.type == "approval_not_found"
    response = await agrees(loop, running, finished)
    assert (response["status"], outcomes(response)) == ("cancelled", [])


def brings_an_approval() -> dict[str, Any]:
    decision = Decision(
        approval_request_id=new_id("mcpr_"), server_label=HOSTED_LABEL, name=GUARDED, arguments="{}", approve=True
    )
    return {"decisions": [decision]}


async def test_a_response_whose_claim_at_the_start_cannot_get_through_ends_at_a_cancel(loop: Bench) -> None:
    Tools(loop).release_all()
    is_claiming = await attempted(loop, CLAIM_APPROVALS)
    running = await loop.start({}, task_timeout=SHORT_TASK, **brings_an_approval())
    await until_true(is_claiming)
    await running.handle.signal("cancel")
    response = await agrees(loop, running, await running.result())
    assert (response["status"], outcomes(response)) == ("cancelled", [])


async def test_a_response_whose_claim_at_the_start_cannot_get_through_ends_at_its_deadline(loop: Bench) -> None:
    Tools(loop).release_all()
    await attempted(loop, CLAIM_APPROVALS)
    running = await loop.start({}, task_timeout=SHORT_TASK, deadline_seconds=0.5, **brings_an_approval())
    response = await agrees(loop, running, await running.result())
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "deadline_exceeded"})
    assert outcomes(response) == []


async def test_a_cancel_behind_a_claim_at_the_start_runs_no_call(loop: Bench) -> None:
    """The task that claimed is repeated with the cancel. Its first run has published nothing of the call."""
    Tools(loop).release_all()
    running: Running

    async def cancel() -> None:
        await running.handle.signal("cancel")

    loop.repetition.behind(CLAIM_APPROVALS, cancel)
    running = await loop.start({}, **brings_an_approval())
    finished = await running.result()
    assert loop.repetition.times == 1
    response = await agrees(loop, running, finished)
    assert (response["status"], outcomes(response)) == ("cancelled", [])


async def test_a_task_that_claims_an_approval_at_the_start_claims_it_again_when_it_is_repeated(loop: Bench) -> None:
    loop.turns = [[TextDelta("done")]]
    Tools(loop).release_all()

    async def nothing() -> None:
        pass

    loop.repetition.behind(CLAIM_APPROVALS, nothing)
    running = await loop.start({}, **brings_an_approval())
    finished = await running.result()
    assert loop.repetition.times == 1
    response = await agrees(loop, running, finished)
    assert (response["status"], len(outcomes(response))) == ("completed", 1)


async def test_answers_that_arrive_together_are_claimed_together(loop: Bench) -> None:
    """They reach the workflow in the task that is repeated."""
    loop.turns = [[*called("call_a"), *guarded("call_b", "call_c", first=1)], [TextDelta("done")]]
    tools = Tools(loop)
    running: Running
    answering: list[asyncio.Task[Any]] = []

    async def answer() -> None:
        for approval_id, approve in zip(await requests_of(running), (True, False), strict=True):
            told = {"approval_request_id": approval_id, "approve": approve}
            answering.append(asyncio.create_task(running.handle.execute_update("answer_approval", told)))
        await asyncio.sleep(0.5)

    loop.repetition.behind(PUBLISH, answer, count=2)
    running = await loop.start({"background": True})
    tools.release("call_a")
    await until_true(lambda: loop.repetition.times == 1)
    tools.release_all()
    finished = await running.result()
    await asyncio.gather(*answering)
    response = await agrees(loop, running, finished)
    assert response["status"] == "completed", response["error"]
    assert outcomes(response) == [denial(None), "ran", "ran"]
    assert await claims_in_history(running) == 1


def each_item_ends_once(log: list[JsonObject], response: JsonObject) -> None:
    for kind in ("response.output_item.added", "response.output_item.done"):
        indexes = [event["output_index"] for event in log if event["type"] == kind]
        assert sorted(indexes) == list(range(len(response["output"]))), kind


@pytest.mark.parametrize("is_longer", [False, True])
async def test_events_that_a_repeated_task_would_not_publish_stand_and_the_response_ends(
    loop: Bench, is_longer: bool
) -> None:
    """Clients were sent them. The numbers of the workflow's own events are another's by then."""
    loop.turns = [called("call_a", "call_b"), [TextDelta("done")]]
    tools = Tools(loop)
    running: Running
    told: list[JsonObject] = []

    async def publish_otherwise() -> None:
        entries = await loop.redis.xrange(key_names.log(running.id))
        told.extend(orjson.loads(fields[b"e"]) for _, fields in entries)
        event = told.pop()
        assert event["type"] == "response.output_item.done"
        if is_longer:
            told.append(told[-1] | {"type": "open_responses:tool_progress", "message": "of another version"})
        else:
            event["item"]["output"] = "another result"
        told.append(event)
        await loop.redis.delete(key_names.log(running.id))
        for sequence, other in enumerate(told):
            other["sequence_number"] = sequence
            await loop.redis.xadd(key_names.log(running.id), {"e": orjson.dumps(other)}, f"{sequence + 1}-0")

    loop.repetition.behind(PUBLISH, publish_otherwise, count=2)
    running = await loop.start({})
    tools.release("call_a")
    await until_true(lambda: loop.repetition.times == 1)
    tools.release_all()
    finished = await running.result()
    response = await agrees(loop, running, finished, has_diverged=True)
    log = await running.log()
    assert log[: len(told)] == told
    each_item_ends_once(log, response)
    assert (response["status"], response["error"]["code"]) == ("failed", "stream_diverged")


async def test_lists_that_came_one_by_one_stay_in_their_order(loop: Bench) -> None:
    """The server that is asked second answers first; the task that publishes its list is repeated with the other's."""
    loop.turns = [[TextDelta("done")]]
    released = {"one": asyncio.Event(), "two": asyncio.Event()}
    released["two"].set()
    running: Running

    async def lists(call: Any) -> JsonObject:
        await asyncio.wait_for(released[call["server_label"]].wait(), 50)
        return {"outcome": "done", "tools": []}

    async def release() -> None:
        released["one"].set()
        await nothing_pending(running)

    loop.mcp = lists
    # The first publication opens the stream.
    loop.repetition.behind(PUBLISH, release, count=2)
    servers = [{"type": "mcp", "server_label": label, "server_url": "http://127.0.0.1:9"} for label in released]
    running = await loop.start({"tools": servers})
    finished = await running.result()
    assert loop.repetition.times == 1
    response = await agrees(loop, running, finished)
    assert [item["server_label"] for item in response["output"][:2]] == ["two", "one"]


async def test_an_end_that_clients_were_sent_stands_for_starts_of_earlier_versions(loop: Bench) -> None:
    loop.turns = [[TextDelta("hello")]]
    running: Running

    async def cancel() -> None:
        await running.handle.signal("cancel")

    loop.repetition.behind(FINISH, cancel)
    running = await loop.start({}, repeats_alike=False)
    finished = await running.result()
    assert loop.repetition.times == 1
    assert (await agrees(loop, running, finished, has_diverged=True))["status"] == "completed"
