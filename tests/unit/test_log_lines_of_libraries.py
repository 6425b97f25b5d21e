"""Lines of the SDK's loggers: the fields that a workflow gives its line, and failures that have a line already."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from temporalio import workflow
from temporalio.exceptions import ApplicationError

from open_responses.errors import ProviderRateLimited
from open_responses.loop.end_line import END, LOG_FIELDS
from open_responses.loop.payloads.ending import Ending
from open_responses.loop.payloads.finish import FinishInput
from open_responses.loop.payloads.start import StartResponse
from open_responses.loop.payloads.usage import TurnUsage
from open_responses.schema.requests import CreateResponse
from tests.support.log_stream import captured_logs
from workflows.closing import Closing


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    with captured_logs() as written:
        yield written


def test_a_stream_that_a_restart_cuts_off_is_no_exception(stream: io.StringIO) -> None:
    uvicorn = logging.getLogger("uvicorn.error")
    for error in (asyncio.CancelledError(), RuntimeError("a defect")):
        uvicorn.error("Exception in ASGI application\n", exc_info=error)
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["exception"][0]["type"] == "builtins.RuntimeError"


def test_a_workflows_line_has_its_fields(stream: io.StringIO) -> None:
    fields = {"response_id": "resp_1", "status": "completed", "without_redis": True}
    logging.getLogger("temporalio.workflow").warning(f"{END} ({{'attempt': 1}})", extra={LOG_FIELDS: fields})
    line = json.loads(stream.getvalue())
    assert {name: line[name] for name in ("event", "level", *fields)} == {"event": END, "level": "warning", **fields}


@pytest.mark.parametrize(
    ("activity", "cause", "is_logged"),
    [
        ("sample", ProviderRateLimited("slow down"), False),
        ("sample", RuntimeError("a defect"), True),
        ("get_weather", ProviderRateLimited("slow down"), True),
    ],
)
def test_only_an_attempt_that_has_a_line_of_its_own_is_left_out(
    stream: io.StringIO, activity: str, cause: Exception, is_logged: bool
) -> None:
    logger = logging.getLogger("temporalio.activity")
    try:
        raise ApplicationError("failed") from cause
    except ApplicationError:
        logger.warning(
            "Completing activity as failed", exc_info=True, extra={"temporal_activity": {"activity_type": activity}}
        )
    assert bool(stream.getvalue()) == is_logged


def test_an_end_that_redis_missed_is_logged_by_the_workflow(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflow, "now", lambda: datetime.now(UTC))
    monkeypatch.setattr(workflow.logger, "log_during_replay", True)
    start = StartResponse(
        response_id="resp_1",
        tenant="acme",
        created_at=0,
        accepted_at=datetime.now(UTC).timestamp() - 2,
        request=CreateResponse.model_validate({"model": "m", "input": "a secret"}),
        provider="p",
        upstream_model="m",
        retry_window=1,
    )
    call = FinishInput(
        start=start,
        epoch=1,
        ending=Ending(status="failed", error_code="provider_timeout", error_message="a secret"),
        output=[{"type": "function_call", "name": "get_weather"}],
        trace=[],
        cut_off=False,
        usage=TurnUsage(input_tokens=2, output_tokens=3),
        ended_at=0,
        turn=1,
        attempts=4,
    )
    Closing.log_end(call)
    line = json.loads(stream.getvalue())
    assert (line["event"], line["response_id"], line["tenant"]) == (END, "resp_1", "acme")
    assert (line["status"], line["code"], line["attempts"]) == ("failed", "provider_timeout", 4)
    assert (line["total_tokens"], line["tools"], line["without_redis"]) == (5, ["get_weather"], True)
    assert line["total_seconds"] >= 2
    assert "secret" not in stream.getvalue()
