"""Agents as tools: each call starts a response of its own, which runs in a child workflow.

What this prevents: an agent that runs twice for one call, that goes on when its parent has ended, or whose tokens
are in no usage report. The child's id follows from the call, Temporal cancels it with its parent, and the parent shows
its usage.
"""

from __future__ import annotations

from dataclasses import dataclass

from temporalio import workflow
from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, CancelledError, ChildWorkflowError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from open_responses.contracts import ToolError
    from open_responses.loop.markdown import plain
    from open_responses.loop.next_step import Call
    from open_responses.loop.output_ledger import PROGRESS
    from open_responses.loop.payloads.finish import FinishedResponse
    from open_responses.loop.payloads.names import WORKFLOW
    from open_responses.loop.payloads.start import StartResponse
    from open_responses.loop.payloads.usage import TurnUsage
    from open_responses.tool_use.agents import AGENT_LINK, AgentPlan, agent_response_id, answer_of, read_task
    from workflows.hosted_call import Outcome, until_stopped
    from workflows.publication import Publication
    from workflows.search_attributes import MODEL, PROVIDER, STATUS, TENANT
    from workflows.state import ResponseState

# An agent that would have less is not started.
_SHORTEST_SECONDS = 1.0
_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Agents:
    """Runs the calls of one response to its agents."""

    state: ResponseState
    publication: Publication

    async def run(self, plan: AgentPlan, call: Call, output_index: int) -> Outcome | None:
        """Run the agent to its end. Returns None if the response was stopped first."""
        state, name = self.state, call.name
        state.agent_calls[name] = state.agent_calls.get(name, 0) + 1
        if state.agent_calls[name] > plan.max_calls:
            return Outcome(f"Not run: this response may call {name!r} {plan.max_calls} times.", failed=True)
        try:
            start = self._start(plan, read_task(call.arguments), call, output_index)
        except ToolError as error:
            return Outcome(str(error), failed=True)
        self._link(start.response_id, output_index)
        await self.publication.publish()
        if state.is_stopping():
            return None
        return await self._ended(start, call)

    def _start(self, plan: AgentPlan, task: str, call: Call, output_index: int) -> StartResponse:
        """The input of the agent's workflow. Raises ToolError if the parent has no time left for it."""
        parent = self.state.start
        deadline = plan.deadline_seconds
        if parent.deadline_seconds is not None:
            deadline = min(deadline, self.state.started_at + parent.deadline_seconds - self.state.clock)
        if deadline < _SHORTEST_SECONDS:
            raise ToolError("Not run: this response has no time left for it. Answer with what you have.")
        admitted = parent.admitted
        given = {
            **plan.start,
            "response_id": agent_response_id(parent.response_id, call.call_id, output_index),
            "tenant": parent.tenant,
            "created_at": int(workflow.now().timestamp()),
            "request": {**plan.start["request"], "input": task, "metadata": parent.request.metadata or {}},
            "has_search_attributes": parent.has_search_attributes,
            # It has no slot of its own: its parent's calls are limited. Its tokens count for the key as any others.
            "admitted": None if admitted is None else admitted.model_copy(update={"tokens": 0, "second": 0}),
            "context_tokens": 1 + len(task) // _CHARACTERS_PER_TOKEN,
            "deadline_seconds": deadline,
            "request_id": parent.request_id,
            "traceparent": parent.traceparent,
            "accepted_at": workflow.now().timestamp(),
            "agent_of": parent.response_id,
        }
        return StartResponse.model_validate(given)

    def _link(self, response_id: str, output_index: int) -> None:
        output_ledger = self.state.output_ledger
        output_ledger.output[output_index] = {**output_ledger.output[output_index], AGENT_LINK: response_id}
        output_ledger.add_event(PROGRESS, output_index, message=f"runs as {response_id}")

    async def _ended(self, start: StartResponse, call: Call) -> Outcome | None:
        try:
            child = await workflow.start_child_workflow(
                WORKFLOW,
                start,
                id=start.response_id,
                result_type=FinishedResponse,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                cancellation_type=workflow.ChildWorkflowCancellationType.TRY_CANCEL,
                parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
                task_timeout=workflow.info().task_timeout,
                search_attributes=_search_attributes(start),
                static_summary=f"{plain(start.request.model)} · {plain(start.tenant)} · {plain(call.name)}",
            )
            finished = await until_stopped(child, self.state.is_stopping, in_order=True, repeats_alike=True)
        except WorkflowAlreadyStartedError:
            return Outcome(f"The agent has run for this call before, as {start.response_id}.", failed=True)
        except ChildWorkflowError as error:
            return self._failed(error)
        if finished is None:
            return None
        self._count(finished.usage, finished.agents)
        return Outcome(answer_of(finished.response), failed=finished.response["status"] != "completed")

    def _failed(self, error: ChildWorkflowError) -> Outcome:
        cause = error.cause
        if isinstance(cause, ApplicationError):
            for detail in cause.details:
                if isinstance(detail, dict) and detail.get("usage"):
                    self._count(TurnUsage.model_validate(detail["usage"]), None)
            return Outcome(f"The agent's response failed: {cause.message}", failed=True)
        if isinstance(cause, CancelledError):
            return Outcome("The agent's response was cancelled.", failed=True)
        return Outcome("The agent's response was ended from outside.", failed=True)

    def _count(self, usage: TurnUsage | None, agents: TurnUsage | None) -> None:
        for used in (usage, agents):
            if used is not None:
                self.state.agents_usage = (self.state.agents_usage or TurnUsage()).plus(used)


def _search_attributes(start: StartResponse) -> TypedSearchAttributes:
    """As the API sets them where it starts a response."""
    return TypedSearchAttributes(
        [
            SearchAttributePair(MODEL, start.request.model),
            SearchAttributePair(PROVIDER, start.provider),
            SearchAttributePair(TENANT, start.tenant),
            SearchAttributePair(STATUS, "in_progress"),
        ]
    )
