"""Failures as Temporal stores them: encoded like payloads, with a reason that operators can read.

What this prevents: "Encoded failure" as all that Temporal's UI says of a failed run, and "Failure exceeds size limit",
which Temporal puts in the place of a failed attempt of more than 4 KB: a stack trace alone may be as long.
"""

from __future__ import annotations

from typing import ClassVar, TypeVar

from temporalio.api.failure.v1 import Failure
from temporalio.converter import (
    DefaultFailureConverterWithEncodedAttributes,
    PayloadConverter,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)
from temporalio.exceptions import ApplicationError
from typing_extensions import override

from open_responses.loop.error_words import own_words

Self = TypeVar("Self", bound="ReadableFailures")

# Of an activity's failure; with the details, it stays below Temporal's 4 KB also where it is not compressed.
_LONGEST_MESSAGE = 2_000


class ReadableFailures(DefaultFailureConverterWithEncodedAttributes, WithSerializationContext):
    """Encodes message and stack trace. In clear are an error's type, and what the type means in this server's words.

    Failures of workflows are in clear as a whole, unless payloads are encrypted (`SealedFailures`): a workflow decides
    by itself what it raises. Those of activities may quote a provider or a tool of a response that is to be erased.
    """

    shows_workflows: ClassVar[bool] = True

    def __init__(self, *, of_workflow: bool = False) -> None:
        super().__init__()
        self._of_workflow = of_workflow

    @override
    def with_context(self: Self, context: SerializationContext) -> Self:
        return type(self)(of_workflow=isinstance(context, WorkflowSerializationContext))

    @override
    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        if isinstance(exception, ApplicationError) and exception.type and exception.failure is None:
            exception = _without_trace(exception)
        super().to_failure(exception, payload_converter, failure)
        kind = failure.application_failure_info.type
        if isinstance(exception, ApplicationError) and self._of_workflow and self.shows_workflows:
            failure.message = exception.message
        elif kind:
            failure.message = own_words(kind)


class SealedFailures(ReadableFailures):
    """For an installation with encryption keys: no message is in clear."""

    shows_workflows = False


def _without_trace(error: ApplicationError) -> ApplicationError:
    """The error without its causes and its stack trace. Its type says where it was raised, and logs have the rest."""
    message = error.message
    if len(message) > _LONGEST_MESSAGE:
        message = message[:_LONGEST_MESSAGE] + "…"
    return ApplicationError(
        message,
        *error.details,
        type=error.type,
        non_retryable=error.non_retryable,
        next_retry_delay=error.next_retry_delay,
        category=error.category,
    )
