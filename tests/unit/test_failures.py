"""An activity's failure becomes the ending of its response: the code of what raised it, however deep it is."""

from __future__ import annotations

import pytest
from temporalio.exceptions import ApplicationError, CancelledError, TimeoutError, TimeoutType

from open_responses.loop.error_advice import with_advice
from open_responses.loop.payloads.ending import Ending
from open_responses.loop.payloads.usage import TurnUsage
from tests.support.activity_errors import failed
from workflows.failures import failure, paid_in, provider_is_down


def timeout(kind: TimeoutType, last: BaseException | None = None) -> TimeoutError:
    error = TimeoutError("activity timed out", type=kind, last_heartbeat_details=[])
    error.__cause__ = last
    return error


def test_the_ending_has_the_code_and_the_message_of_the_application() -> None:
    error = failed(ApplicationError("no such model", type="model_not_found"))
    message = with_advice("model_not_found", "no such model")
    assert failure(error) == Ending(status="failed", error_code="model_not_found", error_message=message)


def test_an_error_without_a_code_is_the_servers() -> None:
    assert failure(failed(ApplicationError("oops"))).error_code == "server_error"


def test_a_timeout_behind_retries_ends_with_what_the_last_attempt_raised() -> None:
    """Temporal's timeout wraps it when the retries have used up the time."""
    busy = ApplicationError("slow down", type="provider_overloaded")
    ending = failure(failed(timeout(TimeoutType.SCHEDULE_TO_CLOSE, busy)))
    message = with_advice("provider_overloaded", "slow down")
    assert (ending.error_code, ending.error_message) == ("provider_overloaded", message)


@pytest.mark.parametrize(
    ("cause", "message"), [(timeout(TimeoutType.HEARTBEAT), "activity timed out"), (None, "activity error")]
)
def test_a_failure_of_nothing_of_ours_keeps_its_message(cause: BaseException | None, message: str) -> None:
    ending = failure(failed(cause))
    assert ending.status == "failed"
    assert str(ending.error_message).startswith(message)


@pytest.mark.parametrize(
    ("cause", "is_down"),
    [
        (ApplicationError("500", {"provider_is_down": True}), True),
        (ApplicationError("500", {"usage": None}, {"provider_is_down": True}), True),
        (ApplicationError("bad request", {"provider_is_down": False}), False),
        (ApplicationError("bad request", "provider_is_down"), False),
        (timeout(TimeoutType.START_TO_CLOSE), True),
        (timeout(TimeoutType.SCHEDULE_TO_CLOSE), True),
        # No worker took the sample: another provider would wait as long.
        (timeout(TimeoutType.SCHEDULE_TO_START), False),
        (CancelledError("cancelled"), False),
        (None, False),
    ],
)
def test_another_provider_is_asked_where_this_one_is_down(cause: BaseException | None, is_down: bool) -> None:
    assert provider_is_down(failed(cause)) == is_down


def test_the_usage_of_a_failed_sample_is_in_its_details() -> None:
    usage = TurnUsage(input_tokens=7, output_tokens=2)
    details = ({"provider_is_down": True}, {"usage": usage.model_dump()})
    assert paid_in(failed(ApplicationError("broke", *details))) == usage
    assert paid_in(failed(ApplicationError("broke", "usage", {"usage": None}))) == TurnUsage()
    assert paid_in(failed(timeout(TimeoutType.HEARTBEAT))) == TurnUsage()
