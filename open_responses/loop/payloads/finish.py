"""The payloads of a response's end, the result of its workflow, and the result of its `progress` query."""

from __future__ import annotations

from typing import Literal

from open_responses.deltas import Usage
from open_responses.events.trace import Op
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.ending import Ending
from open_responses.loop.payloads.start import Admitted, StartResponse
from open_responses.loop.payloads.usage import TurnUsage
from open_responses.schema.http_bodies import ResponseStatus
from open_responses.schema.payload import Payload
from open_responses.schema.request_settings import COST
from open_responses.schema.response import finished_response

USAGE_MEMO = "open_responses_usage"
"""The name of a `UsageRecord` in the memo of a run that has ended."""


class UsageRecord(Payload):
    """What a response that has ended used, for the counts of usage and of budgets. `created_at` is in Unix seconds.

    `account` and `budget_period` are those of its key; without an account, no budget counts it.
    """

    response_id: str
    tenant: str
    model: str
    created_at: int
    status: str
    usage: TurnUsage | None = None
    account: str = ""
    budget_period: Literal["day", "month"] = "month"

    @classmethod
    def of(cls, start: StartResponse, status: str, usage: TurnUsage | None) -> UsageRecord:
        """Make the record of a response."""
        admitted = start.admitted or Admitted(account="")
        return cls(
            response_id=start.response_id,
            tenant=start.tenant,
            model=start.request.model,
            created_at=start.created_at,
            status=status,
            usage=usage,
            account=admitted.account,
            budget_period=admitted.budget_period,
        )


class FinishInput(Payload):
    """The input of `finish`, which stores the response, then appends its terminal event.

    Attributes:
        cut_off: A sample was stopped within its answer, so only the log has its last events.
        usage: The tokens of the complete model turns.
        ended_at: Unix seconds.
        has_diverged: The log has other events than `trace`. The log counts, since clients have read it.
        was_cut_off: A sample was cut off, and `output` has its items already.
        turn: The number of the model turn that is not complete.
        paid: The tokens that are known of it.
        attempts: The attempts at all model turns that the workflow knows of.
        provider: The provider of the newest attempt.
        first_token_at: The time at which a model first brought content, in Unix seconds.
        fallback: The provider in use: 0 for the route's own, i for the i-th fallback.
        reported: Members of the response resource that the provider reports.
        agents: The usage of the responses of its agents, which count for themselves.
    """

    start: StartResponse
    epoch: int
    ending: Ending
    output: list[JsonObject]
    trace: list[Op]
    cut_off: bool
    usage: TurnUsage | None
    ended_at: int
    has_diverged: bool = False
    was_cut_off: bool = False
    turn: int = 0
    paid: TurnUsage = TurnUsage()
    attempts: int = 0
    provider: str | None = None
    first_token_at: float | None = None
    fallback: int = 0
    reported: JsonObject | None = None
    agents: TurnUsage | None = None


class FinishResult(Payload):
    """The part of the response that only the log has.

    Attributes:
        items: The items of a sample that was cut off.
        trace: Its trace, up to the end.
        paid: The tokens of the model turn that is not complete.
        announced: Set if the response had an end already, or if the log has other events than the workflow. It is the
            response that the log's events amount to, and `trace` is that of the whole log.
        usage: The tokens and cost of the response that was announced.
    """

    items: list[JsonObject] = []
    trace: list[Op] = []
    paid: TurnUsage = TurnUsage()
    announced: JsonObject | None = None
    usage: TurnUsage | None = None


class FinishedResponse(Payload):
    """The result of the workflow: what `GET`, a replay of the stream and a later response read.

    `usage` has the cost, which the response shows only on request; None in results of earlier versions. `agents` is the
    usage of its agents' responses, which the response shows together with its own.
    """

    response: JsonObject
    trace: list[Op]
    usage: TurnUsage | None = None
    agents: TurnUsage | None = None

    def used_by(self, start: StartResponse) -> UsageRecord:
        """What the response used. Of a response of an earlier version, the tokens are known, and not the cost."""
        usage = self.usage
        if usage is None and self.response["usage"] is not None:
            usage = TurnUsage.shown(self.response["usage"])
        return UsageRecord.of(start, self.response["status"], usage)


class Progress(Payload):
    """The result of the workflow's `progress` query: enough to rebuild the log and the record that Redis lost."""

    start: StartResponse
    status: ResponseStatus
    output: list[JsonObject]
    trace: list[Op]
    turn: int
    usage: TurnUsage | None = None


def final_resource(
    start: StartResponse,
    ending: Ending,
    output: list[JsonObject],
    usage: TurnUsage | None,
    ended_at: int,
    *,
    fallback: int = 0,
    reported: JsonObject | None = None,
    agents: TurnUsage | None = None,
) -> JsonObject:
    """The final response resource. The workflow and the activity build the same.

    `fallback`, `reported` and `agents` are as in `FinishInput`.
    """
    if agents is not None:
        usage = agents if usage is None else usage.plus(agents)
    total = None
    if usage is not None:
        total = Usage(**usage.model_dump())
    response = finished_response(
        {**start.initial(fallback), **(reported or {})},
        status=ending.status,
        output=output,
        completed_at=ended_at,
        usage=total,
        error=(ending.error_code, ending.error_message) if ending.status == "failed" else None,
        incomplete_reason=ending.incomplete_reason if ending.status == "incomplete" else None,
    )
    if usage is not None and COST in (start.request.include or []):
        response["usage"]["cost_usd"] = usage.whole_cost
    return response
