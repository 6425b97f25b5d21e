"""Steering: messages of the user that a running response takes up before its next model turn.

What this prevents: a message that was acknowledged and that no model reads. A message counts once a workflow task has
recorded it. The answer that would end the response then begins another turn instead; a message that arrives in the same
task as that answer is refused, because a first run of the task may have announced the end without it
(docs/decisions/0053-steering.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from open_responses.loop.next_step import Step
    from open_responses.loop.payloads.steering import Steer
    from open_responses.loop.steering import (
        KEY_REUSED,
        MAX_STEERS,
        MAX_WAITING_STEERS,
        NO_TURN_LEFT,
        NOT_FOR_FALLBACK,
        NOT_SUPPORTED,
        STEERED_TOO_LATE,
        TOO_MANY,
        TOO_MANY_WAITING,
        steer_items,
    )
    from workflows.publication import Publication
    from workflows.state import ResponseState
    from workflows.tasks import behind_results, current_task, next_task
    from workflows.waiting import Waiting


@dataclass(slots=True)
class Steering:
    """The messages that wait are in the state, which a new run takes over."""

    state: ResponseState
    publication: Publication
    waiting: Waiting
    _is_closed: bool = False

    def check(self, steer: Steer) -> None:
        """Raises ApplicationError for messages that no model turn of this response would read."""
        if not all(isinstance(message.get("content"), list) for message in steer.messages):
            # An operator's, by hand.
            raise ApplicationError("messages need their content parts", type="invalid_arguments")
        state = self.state
        known = state.steered.get(steer.steer_id)
        if known is not None:
            if known != steer.digest:
                raise _refused(KEY_REUSED)
            return
        if state.start.is_compaction:
            raise _refused(NOT_SUPPORTED)
        if self._is_closed or state.is_stopping():
            raise _refused(STEERED_TOO_LATE)
        if not self._has_turn_left():
            raise _refused(NO_TURN_LEFT)
        if state.fallback in steer.unfit:
            raise _refused(NOT_FOR_FALLBACK)
        if len(state.steers) >= MAX_WAITING_STEERS:
            raise _refused(TOO_MANY_WAITING)
        if len(state.steered) >= MAX_STEERS:
            raise _refused(TOO_MANY)

    async def accept(self, steer: Steer) -> None:
        """Keep the messages for the next model turn. Returns once they are in history and that turn will come.

        Raises ApplicationError if the response has decided to end meanwhile, without them.
        """
        state = self.state
        if steer.steer_id not in state.steered:
            state.steered[steer.steer_id] = steer.digest
            state.steers.append(steer)
            # From now on: the turn that falls back may be the one that has read the messages.
            state.unfit.update(steer.unfit)
            state.steered_in[steer.steer_id] = current_task()
            state.show()
        await next_task()
        # Like a result of this task: what follows it in history comes later.
        self.waiting.wake()
        await behind_results()
        if not self._waits(steer):
            return
        if self._is_closed or state.is_stopping():
            self._withdraw(steer)
            raise _refused(STEERED_TOO_LATE)
        if not self._has_turn_left():
            self._withdraw(steer)
            raise _refused(NO_TURN_LEFT)

    async def take_up(self) -> None:
        """Add the messages that wait to the output, where the next model turn reads them."""
        due = self.state.due_steers()
        if not due:
            return
        output_ledger, response_id = self.state.output_ledger, self.state.start.response_id
        if output_ledger.length == 0:
            output_ledger.open_stream(self.state.start.initial())
        for steer in due:
            self.state.steers.remove(steer)
            for item in steer_items(response_id, len(output_ledger.output), steer):
                output_ledger.settle(output_ledger.add(item), status="completed")
        await self.publication.publish()

    async def goes_on(self, step: Step) -> bool:
        """Whether the response begins another model turn where it would end, because messages wait.

        Where the client has to answer a call first, they are added to the output instead: the response that brings the
        answer reads them behind it.
        """
        if (
            self.state.is_stopping()
            or step.stop is None
            or step.stop.status != "completed"
            or not self.state.due_steers()
        ):
            return False
        if not step.waits_for_client:
            # An answer that no turn can follow stays the last one, and is complete.
            return self._has_turn_left() and self.state.tokens_left() != 0
        await self.take_up()
        return False

    def close(self) -> None:
        """Refuse all messages from now on: the response ends."""
        self._is_closed = True

    def _has_turn_left(self) -> bool:
        return self.state.turn < self.state.start.max_turns

    def _waits(self, steer: Steer) -> bool:
        return any(waiting.steer_id == steer.steer_id for waiting in self.state.steers)

    def _withdraw(self, steer: Steer) -> None:
        self.state.steers = [waiting for waiting in self.state.steers if waiting.steer_id != steer.steer_id]
        self.state.steered.pop(steer.steer_id, None)


def _refused(code: str) -> ApplicationError:
    return ApplicationError(f"the messages are refused: {code}", type=code)
