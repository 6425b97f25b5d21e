"""Calls that wait inside a running response for a person's approval."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from open_responses.loop.payloads import ApprovalAnswer, Decision
    from workflows.parallel_calls import ToolCalls
    from workflows.publication import Publication
    from workflows.state import ResponseState
    from workflows.tasks import current_task, next_task_in_order


@dataclass(frozen=True, slots=True)
class LiveApprovals:
    """Waits for answers without using a worker, and runs each call as soon as it is approved."""

    state: ResponseState
    publication: Publication
    calls: ToolCalls
    _waiting: set[str] = field(default_factory=set)
    _answers: dict[str, ApprovalAnswer] = field(default_factory=dict)

    def answer(self, answer: ApprovalAnswer) -> None:
        self._answers[answer.approval_request_id] = answer

    def check(self, answer: ApprovalAnswer) -> None:
        """Raises ApplicationError for a second answer, and for one that no call waits for."""
        if self._is_answered(answer.approval_request_id):
            raise ApplicationError("this approval was answered already", type="approval_already_answered")
        if answer.approval_request_id not in self._waiting:
            raise ApplicationError("no call waits for this approval", type="approval_not_found")

    async def run(self, approvals: Sequence[int]) -> None:
        """Wait for all answers, and run what is approved. `approvals` are the output indexes of the requests."""
        for index in approvals:
            self._waiting.add(self.state.output_ledger.output[index]["id"])
        self.state.show("waiting for approval")
        await asyncio.gather(*(self._await_answer(index) for index in approvals))

    def _is_answered(self, approval_request_id: str) -> bool:
        """Whether an answer came, in this run or an earlier one: each leaves a call in the output, run or denied."""
        return approval_request_id in self._answers or any(
            item.get("approval_request_id") == approval_request_id for item in self.state.output_ledger.output
        )

    async def _await_answer(self, index: int) -> None:
        request = self.state.output_ledger.output[index]
        approval_id = request["id"]
        await workflow.wait_condition(lambda: approval_id in self._answers or self.state.is_stopping())
        self._waiting.remove(approval_id)
        answer = self._answers.get(approval_id)
        if answer is None:
            return
        if self.state.start.repeats_alike:
            # An update precedes the results of its workflow task, also those that an earlier run of it has published.
            await next_task_in_order()
            if self.state.is_stopping() and self.state.stopped_in != current_task():
                return
        decision = Decision(
            approval_request_id=approval_id,
            server_label=request["server_label"],
            name=request["name"],
            arguments=request["arguments"],
            approve=answer.approve,
            reason=answer.reason,
        )
        call = self.calls.add_decided(decision)
        self.state.choice_spent = True
        if answer.approve:
            await self.calls.run([call])
        else:
            self.calls.settle_denied(call, answer.reason)
            await self.publication.publish()
