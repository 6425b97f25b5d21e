"""A response's run ends in Temporal as the response does, and every reader finds the end there if Redis has lost it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from temporalio.api.failure.v1 import Failure
from temporalio.client import WorkflowExecutionStatus, WorkflowHandle
from temporalio.converter import ActivitySerializationContext, DataConverter, WorkflowSerializationContext
from temporalio.exceptions import ApplicationError

from activities.errors import to_application_error
from open_responses.errors import ProviderUnavailable
from open_responses.io.redis.client import Redis
from open_responses.io.temporal.codec import DATA_CONVERTER, converter_with
from open_responses.io.temporal.payload_keys import PayloadKeys
from open_responses.loop.error_words import own_words
from open_responses.loop.payloads.finish import FinishedResponse
from open_responses.loop.payloads.usage import TurnUsage
from tests.support.fake_upstream import Fault, Script, Upstream
from tests.support.operator import a_start, closed, console
from tests.support.stack import Event, Stack, events_of
from workflows.ends import end_alike


async def _failure_of(handle: WorkflowHandle[Any, Any]) -> Failure:
    """The failure with which the run ended, as it is stored."""
    async for event in handle.fetch_history_events():
        if event.HasField("workflow_execution_failed_event_attributes"):
            return event.workflow_execution_failed_event_attributes.failure
    raise AssertionError("the run has not failed")


async def _read(client: httpx.AsyncClient, response_id: str) -> tuple[dict[str, Any], list[Event]]:
    """What `GET` and a replay of the stream have."""
    response: dict[str, Any] = (await client.get(f"/v1/responses/{response_id}")).json()
    return response, [event async for event in events_of(client, resume=(response_id, None))]


async def _lose(redis: Redis, response_id: str) -> None:
    """All that Redis has of this response. Other tests keep what is theirs."""
    keys = [key async for key in redis.scan_iter(match=f"*{response_id}*")]
    assert keys
    await redis.delete(*keys)


async def test_a_failed_response_is_a_failed_run_whose_code_and_reason_can_be_read(
    client: httpx.AsyncClient, stack: Stack, redis: Redis, upstream: Upstream
) -> None:
    upstream.says("fails in Temporal", Script(faults=[Fault(status=400)]))
    body = {"model": "fake", "input": "fails in Temporal"}
    headers = {"idempotency-key": "fails in Temporal"}
    failed = (await client.post("/v1/responses", json=body, headers=headers)).json()
    assert failed["status"] == "failed"
    handle = (await console(stack)).get_workflow_handle(failed["id"])
    assert await closed(handle) == WorkflowExecutionStatus.FAILED
    failure = await _failure_of(handle)
    assert failure.message == f"{failed['error']['code']}: {failed['error']['message']}"
    assert failure.application_failure_info.type == failed["error"]["code"]
    before = await _read(client, failed["id"])
    assert before[0] == failed
    await _lose(redis, failed["id"])
    assert await _read(client, failed["id"]) == before
    await _lose(redis, failed["id"])
    assert (await client.post("/v1/responses", json=body, headers=headers)).json() == failed
    going_on = {"model": "fake", "input": "go on", "previous_response_id": failed["id"]}
    with_redis = await client.post("/v1/responses", json=going_on)
    await _lose(redis, failed["id"])
    without = await client.post("/v1/responses", json=going_on)
    assert (with_redis.status_code, with_redis.json()["status"]) == (without.status_code, without.json()["status"])


async def test_a_cancelled_response_is_a_canceled_run_and_keeps_what_it_has_shown(
    client: httpx.AsyncClient, stack: Stack, redis: Redis, upstream: Upstream
) -> None:
    upstream.says("cancelled in Temporal", Script(words=30, hold_after=3))
    begun: dict[str, Any] = {}
    async for event in events_of(client, {"input": "cancelled in Temporal"}):
        begun = begun or event["response"]
        if event["type"] == "response.output_text.delta":
            break
    cancelled = (await client.post(f"/v1/responses/{begun['id']}/cancel")).json()
    handle = (await console(stack)).get_workflow_handle(begun["id"])
    assert await closed(handle) == WorkflowExecutionStatus.CANCELED
    before = await _read(client, begun["id"])
    assert before[0]["status"] == "cancelled"
    assert before[0]["output"][0]["status"] == "incomplete"
    assert cancelled["id"] == begun["id"]
    await _lose(redis, begun["id"])
    assert await _read(client, begun["id"]) == before
    again = await client.post(f"/v1/responses/{begun['id']}/cancel")
    assert again.json() == before[0]


def test_a_failed_response_that_is_not_stored_leaves_no_message_in_clear() -> None:
    """Its history is deleted; what a failure has in clear would stay readable in copies of Temporal's tables."""
    start = a_start()
    error = {"code": "provider_rejected_request", "message": "secret"}
    finished = FinishedResponse(response={"status": "failed", "error": error}, trace=[])
    for is_stored, message in ((True, "provider_rejected_request: secret"), (False, own_words(error["code"]))):
        asked = start.request.model_copy(update={"store": is_stored})
        with pytest.raises(ApplicationError) as raised:
            end_alike(start.model_copy(update={"request": asked}), finished)
        assert (raised.value.message, raised.value.type) == (message, error["code"])


def _stored(converter: DataConverter, error: BaseException) -> Failure:
    failure = Failure()
    converter.failure_converter.to_failure(error, converter.payload_converter, failure)
    return failure


def test_with_a_key_no_failure_has_more_in_clear_than_its_code_and_its_meaning() -> None:
    sealed = converter_with(PayloadKeys([b"k" * 32]))
    error = ApplicationError("the prompt was: secret", type="provider_rejected_request")
    for context in (
        WorkflowSerializationContext(namespace="default", workflow_id="resp_1"),
        ActivitySerializationContext(
            namespace="default",
            workflow_id="resp_1",
            workflow_type="x",
            activity_type="x",
            activity_id="1",
            activity_task_queue="q",
            is_local=False,
        ),
    ):
        failure = _stored(sealed.with_context(context), error)
        assert failure.message == "provider_rejected_request: the provider rejected the request"
        assert not failure.stack_trace
    unknown = _stored(sealed, ValueError("secret"))
    assert unknown.message == "ValueError"


def test_a_failed_attempt_is_smaller_than_temporals_limit_and_its_message_is_whole() -> None:
    """Temporal shows "Failure exceeds size limit" for more than 4 KB."""
    text = "The provider says: " + "why " * 400
    try:
        try:
            raise ConnectionError("x" * 5000)
        except ConnectionError as cause:
            error = ProviderUnavailable(text)
            raise to_application_error(error, seconds_left=10, paid=TurnUsage(input_tokens=10**6)) from cause
    except ApplicationError as raised:
        failure = _stored(DATA_CONVERTER, raised)
    assert failure.ByteSize() < 4096
    read = DATA_CONVERTER.failure_converter.from_failure(failure, DATA_CONVERTER.payload_converter)
    assert isinstance(read, ApplicationError)
    assert (read.message, read.type) == (text, error.error_code)
