"""An exception in a log line has its type, its place and its causes, and no message, which may quote a conversation."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from tests.support.log_stream import captured_logs

SECRET = "the user's own words"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    with captured_logs() as written:
        yield written


def raised(*, hides_its_cause: bool = False) -> BaseException:
    """A KeyError that a ValueError caused, or that hides it."""
    try:
        try:
            raise ValueError(SECRET)
        except ValueError as cause:
            raise KeyError(SECRET) from (None if hides_its_cause else cause)
    except KeyError as error:
        return error


def logged(stream: io.StringIO, exc_info: Any) -> list[dict[str, Any]]:
    structlog.get_logger().error("it_failed", exc_info=exc_info)
    logging.getLogger("library").error("it failed", exc_info=exc_info)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["it_failed", "it failed"]
    own, of_a_library = (line["exception"] for line in lines)
    assert own == of_a_library
    return list(own)


@pytest.mark.parametrize("as_tuple", [False, True], ids=["the exception", "exc_info"])
def test_a_line_has_the_types_and_places_of_an_exception_and_of_its_causes(stream: io.StringIO, as_tuple: bool) -> None:
    error = raised()
    described = logged(stream, (type(error), error, error.__traceback__) if as_tuple else error)
    assert [one["type"] for one in described] == ["builtins.KeyError", "builtins.ValueError"]
    assert all(__file__ in one["frames"][-1] and one["frames"][-1].endswith(" raised") for one in described)
    assert SECRET not in stream.getvalue()


def test_messages_are_there_only_if_the_operator_wants_them() -> None:
    with captured_logs(messages=True) as stream:
        described = logged(stream, raised())
    assert [one["message"] for one in described] == [repr(SECRET), SECRET]


def test_a_cause_that_is_hidden_stays_hidden_and_a_circle_of_causes_ends(stream: io.StringIO) -> None:
    hidden = raised(hides_its_cause=True)
    assert [one["type"] for one in logged(stream, hidden)] == ["builtins.KeyError"]
    stream.truncate(0)
    stream.seek(0)
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert [one["type"] for one in logged(stream, first)] == ["builtins.ValueError", "builtins.KeyError"]


def test_the_exception_that_is_handled_is_found(stream: io.StringIO) -> None:
    try:
        raise raised()
    except KeyError:
        described = logged(stream, True)
    assert [one["type"] for one in described] == ["builtins.KeyError", "builtins.ValueError"]
