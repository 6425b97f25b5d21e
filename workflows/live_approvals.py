"""Calls that wait inside a running response for a person's approval."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from open_responses.loop.payloads.approvals import ApprovalAnswer, Decision
    from open_responses.loop.search_attributes import AWAITING_APPROVAL
    from workflows import search_attributes
    from workflows.announcements import announce_approvals
    from workflows.claims import claimed_elsewhere, stopped_before_next_task
    from workflows.parallel_calls import ToolCalls
    from workflows.patches import patched
    from workflows.publication import Publication
    from workflows.state import ResponseState


@dataclass(frozen=True, slots=True)
class LiveApprovals:
    """Waits for answers without using a worker, and runs each call as soon as it is approved.

    An answer claims its approval in Temporal before the workflow publishes or runs the call. The call in the output
    does not suffice as a record: a run that is terminated during an outage of Redis leaves an output without the call,
    and a later response could use the approval again (docs/decisions/0029).

    `_answers` are the accepted answers. `_claims` records for each of them, once the claim has returned, whether this
    response has the approval; False means that another response used it.
    """

    state: ResponseState
    publication: Publication
    calls: ToolCalls
    _answers: dict[str, ApprovalAnswer] = field(default_factory=dict)
    _claims: dict[str, bool] = field(default_factory=dict)
    _one_claim_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def answer(self, answer: ApprovalAnswer) -> None:
        """Claim the approval, and run its call.

        Raises ApplicationError if another response has used the approval, or if this response is stopped before the
        claim is stored.
        """
        approval_id = answer.approval_request_id
        self._answers[approval_id] = answer
        if patched("live-answers-are-claimed"):
            await self._claim_all()
        else:
            self._claims[approval_id] = True
        if approval_id not in self._claims:
            raise _no_call_waits()
        if not self._claims[approval_id]:
            raise _answered_already()

    def check(self, answer: ApprovalAnswer) -> None:
        """Raises ApplicationError for a second answer, and for one that no call waits for."""
        if self._is_answered(answer.approval_request_id):
            raise _answered_already()
        if answer.approval_request_id not in self.state.awaited or self.state.is_stopping():
            # The answer would use the approval up, and no call would run.
            raise _no_call_waits()

    async def run(self, approvals: Sequence[int]) -> None:
        """Wait for all answers, and run the approved calls. `approvals` are the output indexes of the requests."""
        for index in approvals:
            request = self.state.output_ledger.output[index]
            self.state.awaited[request["id"]] = request
        self.state.show("waiting for approval")
        search_attributes.show_status(self.state.start, AWAITING_APPROVAL)
        waiting = [self.state.output_ledger.output[index]["id"] for index in approvals]
        await asyncio.gather(
            announce_approvals(self.state.start, waiting), *(self._await_answer(index) for index in approvals)
        )

    async def decide(self, index: int) -> tuple[Decision, bool] | None:
        """Wait for the answer about a program's call, at the output index of its request. Returns the decision, and
        whether this response may act on it; None if the response was stopped."""
        request = self.state.output_ledger.output[index]
        self.state.awaited[request["id"]] = request
        self.state.show("waiting for approval")
        search_attributes.show_status(self.state.start, AWAITING_APPROVAL)
        _, decision = await asyncio.gather(
            announce_approvals(self.state.start, [request["id"]]), self._await_decision(index)
        )
        return decision

    def _is_answered(self, approval_request_id: str) -> bool:
        """Whether an answer came, in this run or an earlier one: each leaves a call in the output, run or denied."""
        return approval_request_id in self._answers or any(
            item.get("approval_request_id") == approval_request_id for item in self.state.output_ledger.output
        )

    async def _claim_all(self) -> None:
        """Claim the approvals of all answers that are not claimed yet, in one activity.

        It runs in the workflow task that brings the answer. The call begins in a later one, so a repeated task claims
        again before clients have been sent anything.
        """
        # Meanwhile the workflow accepts the other answers of this task.
        await asyncio.sleep(0)
        async with self._one_claim_at_a_time:
            unclaimed = [answer for answer in self._answers.values() if answer.approval_request_id not in self._claims]
            if not unclaimed:
                return
            decisions = [Decision.without_call(answer.approval_request_id, answer.approve) for answer in unclaimed]
            refused = await claimed_elsewhere(self.state, decisions)
            if refused is None:
                return
            for decision in decisions:
                self._claims[decision.approval_request_id] = decision.approval_request_id not in refused

    async def _await_answer(self, index: int) -> None:
        found = await self._await_decision(index)
        if found is None:
            return
        decision, is_ours = found
        call = self.calls.add_decided(decision)
        self.state.choice_spent = True
        if decision.approve and is_ours:
            await self.calls.run([call])
            return
        if is_ours:
            self.calls.settle_denied(call, decision.reason)
        else:
            self.calls.settle_used_already(call)
        await self.publication.publish()

    async def _await_decision(self, index: int) -> tuple[Decision, bool] | None:
        request = self.state.output_ledger.output[index]
        approval_id = request["id"]
        await workflow.wait_condition(lambda: approval_id in self._claims or self.state.is_stopping())
        del self.state.awaited[approval_id]
        if not self.state.awaited and not self.state.is_stopping():
            search_attributes.show_status(self.state.start, "in_progress")
        if approval_id not in self._claims:
            return None
        answer = self._answers[approval_id]
        # An update precedes the results of its workflow task, also those that an earlier run of it has published.
        if self.state.start.repeats_alike and await stopped_before_next_task(self.state):
            return None
        decision = Decision(
            approval_request_id=approval_id,
            server_label=request["server_label"],
            name=request["name"],
            arguments=request["arguments"],
            approve=answer.approve,
            reason=answer.reason,
        )
        return decision, self._claims[approval_id]


def _answered_already() -> ApplicationError:
    return ApplicationError("this approval was answered already", type="approval_already_answered")


def _no_call_waits() -> ApplicationError:
    return ApplicationError("no call waits for this approval", type="approval_not_found")
