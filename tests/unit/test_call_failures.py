"""A hosted tool's call that failed has an output that the model can read, and it says whether the tool may have run."""

from __future__ import annotations

import pytest
from temporalio.exceptions import (
    ApplicationError,
    CancelledError,
    TerminatedError,
    TimeoutError,
    TimeoutType,
)

from open_responses.loop.next_step import call_of
from open_responses.loop.payloads.tool_calls import MAY_TRY_AGAIN
from open_responses.tool_use.tool_output import DO_NOT_REPEAT, OUTCOME_UNKNOWN
from tests.support.activity_errors import failed
from workflows import hosted_call

CALL = call_of("hosted", 1, "pay", "{}", "call_1")


def timeout(kind: TimeoutType) -> TimeoutError:
    return TimeoutError("activity timed out", type=kind, last_heartbeat_details=[])


MAY_HAVE_RUN = [
    (timeout(TimeoutType.START_TO_CLOSE), "The tool 'pay' did not answer in time."),
    (timeout(TimeoutType.SCHEDULE_TO_CLOSE), "The tool 'pay' did not answer in time."),
    (CancelledError("cancelled"), "The call to 'pay' was cancelled."),
    (TerminatedError("terminated"), "The call to 'pay' was cancelled."),
    (None, "The call to 'pay' failed: activity error"),
]


@pytest.mark.parametrize(("cause", "message"), MAY_HAVE_RUN)
@pytest.mark.parametrize("is_new", [True, False], ids=["a new run", "a run of an earlier version"])
def test_an_output_of_a_call_that_may_have_run_says_so(
    monkeypatch: pytest.MonkeyPatch, cause: BaseException | None, message: str, is_new: bool
) -> None:
    monkeypatch.setattr(hosted_call, "patched", lambda name: is_new)
    whole = f"{message} {OUTCOME_UNKNOWN} {DO_NOT_REPEAT}"
    assert hosted_call.message_of(failed(cause), CALL.name) == (whole if is_new else message)


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        (timeout(TimeoutType.SCHEDULE_TO_START), "No worker runs the tool 'pay' at the moment."),
        (ApplicationError("the card was declined"), "the card was declined"),
    ],
)
def test_an_output_of_a_call_that_did_not_run_or_that_the_tool_explains_is_its_message_alone(
    cause: BaseException, message: str
) -> None:
    assert hosted_call.message_of(failed(cause), CALL.name) == message


def test_only_what_says_so_may_be_tried_again() -> None:
    assert hosted_call._may_try_again(failed(ApplicationError("refused", type=MAY_TRY_AGAIN)))
    assert not hosted_call._may_try_again(failed(ApplicationError("refused", type="other")))
    assert not hosted_call._may_try_again(failed(timeout(TimeoutType.START_TO_CLOSE)))
