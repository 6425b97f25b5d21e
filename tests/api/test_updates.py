"""A request that needs a worker does not wait for one without a limit."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import pytest_asyncio
from temporalio import workflow
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment
from temporalio.worker import Worker

from activities.webhooks import send as webhook_attempts
from activities.webhooks.send import Receiver, SendActivity
from api import updates
from api.app_state import AppState
from api.conversation_entries import KnownEntries
from api.conversations.access import OwnedConversation
from api.responses import approvals
from open_responses.config import Config
from open_responses.errors import Unavailable
from open_responses.ids import new_id
from open_responses.io.store import repository
from open_responses.io.store.conversation_pieces import ConversationPieces
from open_responses.io.store.redis_store import ResponseStore
from open_responses.io.store.repository import Records
from open_responses.io.temporal.client import connect
from open_responses.loop.payloads.approvals import ApprovalAnswer
from open_responses.webhooks.deliveries import Delivery, SendResult
from open_responses.webhooks.endpoints import WebhookTarget
from tests.support.stack import Stack, until

ROOT = Path(__file__).parents[2]
SOON = 0.5


@pytest_asyncio.fixture
async def temporal(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setenv("TEMPORAL_ADDRESS", stack.temporal_address)
    return await connect(None)


@pytest_asyncio.fixture
async def unanswered(temporal: Client) -> AsyncIterator[str]:
    """A workflow that no worker runs."""
    workflow_id = new_id("resp_")
    handle = await temporal.start_workflow("ResponseWorkflow", id=workflow_id, task_queue="without-a-worker")
    yield workflow_id
    await handle.terminate()


@workflow.defn(sandboxed=False)
class NeverAnswers:
    """Accepts an update, and does not complete it."""

    def __init__(self) -> None:
        self._has_accepted = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.update
    async def hold(self) -> None:
        self._has_accepted = True
        await workflow.wait_condition(lambda: False)

    @workflow.query
    def has_accepted(self) -> bool:
        return self._has_accepted


async def test_a_run_that_is_ended_before_it_completes_an_update_is_a_run_that_is_not_there(temporal: Client) -> None:
    """Temporal fails the update itself: a failure of a type that no workflow of ours raises."""
    name = new_id("resp_")
    async with Worker(temporal, task_queue=name, workflows=[NeverAnswers]):
        handle = await temporal.start_workflow(NeverAnswers.run, id=name, task_queue=name)
        sending = asyncio.create_task(updates.send_update(temporal, name, "hold"))
        await until(lambda: handle.query(NeverAnswers.has_accepted))
        await handle.terminate()
        with pytest.raises(RPCError) as caught:
            await sending
    assert caught.value.status == RPCStatusCode.NOT_FOUND


async def test_an_approval_that_no_worker_takes_is_a_503_that_says_what_to_do(
    temporal: Client, unanswered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def send(*args: object) -> None:
        await updates.send_update(*args, patience_seconds=SOON)  # type: ignore[arg-type]

    monkeypatch.setattr(approvals, "send_update", send)
    answer = ApprovalAnswer(approval_request_id="mcpr_x", approve=True)
    with pytest.raises(Unavailable, match=r"Send it again\. It counts once") as refused:
        await approvals._update(cast(AppState, SimpleNamespace(temporal=temporal)), unanswered, answer)
    assert (refused.value.status, refused.value.retry_after) == (503, 5.0)


async def test_a_change_of_a_conversation_that_no_worker_takes_is_a_503(
    temporal: Client, unanswered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def send(*args: object) -> None:
        await updates.send_update(*args, patience_seconds=SOON)  # type: ignore[arg-type]

    monkeypatch.setattr("api.conversations.access.send_update", send)
    with pytest.raises(Unavailable):
        await OwnedConversation(temporal, unanswered, "conversation", KnownEntries()).change("delete")


async def test_a_question_that_no_worker_answers_has_an_end(
    temporal: Client, unanswered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "_QUERY_TIMEOUT", timedelta(seconds=SOON))
    monkeypatch.setattr("api.conversations.access.QUERY_TIMEOUT", timedelta(seconds=SOON))
    with pytest.raises(RPCError):
        await Records(cast(ResponseStore, None), temporal, cast(ConversationPieces, None)).progress(unanswered)
    with pytest.raises(RPCError):
        await OwnedConversation(temporal, unanswered, "conversation", KnownEntries()).summary()


async def test_a_410_is_the_outcome_of_an_attempt_although_no_worker_disables_the_endpoint(
    temporal: Client, unanswered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another attempt after it would be a second POST to a receiver that has said that it is gone."""

    async def prepared(*_: object, **__: object) -> tuple[Receiver, bytes, dict[str, str]]:
        return Receiver([], is_trusted=False, is_disabled_by_410=True), b"{}", {}

    async def post(*_: object, **__: object) -> webhook_attempts._Answer:
        return webhook_attempts._Answer(status=410)

    monkeypatch.setattr(webhook_attempts, "API_KEYS_ID", unanswered)
    monkeypatch.setattr(webhook_attempts, "_DISABLE_TIMEOUT", timedelta(seconds=SOON))
    monkeypatch.setattr(SendActivity, "_prepared", prepared)
    monkeypatch.setattr(SendActivity, "_post", post)
    nothing = cast(Any, None)
    sender = SendActivity(nothing, temporal, nothing, nothing, Config(), {})
    target = WebhookTarget(url="https://example.com/", endpoint_id="whe_a", key_id="key_a")
    delivery = Delivery(
        id="whd_", event_id="evt_", type="response.completed", created_at=1, data={}, tenant="t", target=target
    )
    result: SendResult = await ActivityEnvironment().run(sender.send, delivery)
    assert (result.status, result.attempt.status, result.attempt.error) == ("failed", 410, "gone")


def test_every_sender_of_an_update_catches_what_the_sdk_raises_at_its_end() -> None:
    """The end of `rpc_timeout`, or of a cancellation in between, is no RPCError for an update, as it is for a query."""
    unaware = []
    for folder in ("api", "activities", "open_responses", "processes"):
        for path in (ROOT / folder).rglob("*.py"):
            source = path.read_text(encoding="utf-8")
            is_sender = re.search(r"\.(execute_update|start_update)\(|await send_update\(", source)
            if is_sender and not re.search(r"\*TemporalDown|WorkflowUpdateRPCTimeoutOrCancelledError", source):
                unaware.append(str(path.relative_to(ROOT)))
    # Its callers catch it: `api/admin/keys.py` and `api/webhooks/endpoints.py`.
    assert unaware == ["api/runtime_keys.py"]


def test_every_update_and_query_has_a_limit() -> None:
    """Updates go through `send_update`; a query names its `rpc_timeout`."""
    unbounded = []
    for folder in ("api", "activities", "open_responses"):
        for path in (ROOT / folder).rglob("*.py"):
            source = path.read_text(encoding="utf-8")
            for call in re.finditer(r"\.(execute_update|start_update|query)\(", source):
                arguments = source[call.end() : source.index(")\n", call.end())]
                is_bounded = "rpc_timeout" in arguments or path.name == "updates.py"
                if not is_bounded:
                    unbounded.append(f"{path.relative_to(ROOT)}: {call.group(1)}")
    assert unbounded == []
