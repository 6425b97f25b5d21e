"""Checks the model's answer against `text.format`, and samples once more where it does not fit (REQ-11).

Without the check, a client that asked for JSON of a schema would receive text that it cannot parse, as a response that
is `completed`. `open_responses/io/schema_checks/checks.py` validates the text; this module decides when, and what
follows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from activities.sampling.attempt_state import AttemptState
from open_responses.contracts import SampleCall
from open_responses.deltas import Delta, Finish, TextDelta, Usage
from open_responses.errors import InvalidOutput
from open_responses.events.assembler import Assembler
from open_responses.io.schema_checks.checks import has_form
from open_responses.schema.items import AssistantMessage, UserMessage

SampleOnce: TypeAlias = Callable[[SampleCall, list[TextDelta] | None], Awaitable[Finish]]
"""(call, held) -> the end of the answer. With `held`, the text at its end is collected there, unwritten."""


@dataclass(frozen=True, slots=True)
class FormatCheck:
    """The check of one attempt's answer.

    Attributes:
        state: The state of the attempt.
        assembler: The assembler that has the answer's events.
        sample_once: Samples one answer into the log.
        write: Writes deltas that were held back into the log.
    """

    state: AttemptState
    assembler: Assembler
    sample_once: SampleOnce
    write: Callable[[Iterable[Delta]], None]

    async def sample(self, sampled: SampleCall) -> Finish:
        """Sample an answer that fits `text.format`.

        Without a stream, its text is written only once it fits: clients read the texts of all messages as one.

        Raises:
            InvalidOutput: The second answer does not fit either.
        """
        state, held = self.state, list[TextDelta]()
        request = state.context.request
        is_watched = request.is_streamed or sampled.prefix or sampled.resume_token
        finish = await self.sample_once(sampled, held if has_form(request) and not is_watched else None)
        text = self._checked_text(finish, held)
        problem = await self._problem(text)
        if text is None or problem is None:
            self.write(held)
            return finish
        state.pay(finish.usage)
        state.write_attempt_event("restarted", reason=problem)
        state.writer.write(self.assembler.abandon())
        left = state.attempt.call.max_output_tokens
        if left is not None and state.progress.beside.output_tokens >= left:
            return Finish("length", Usage())
        finish = await self.sample_once(_corrected(state.sample_call(), text, problem), None)
        problem = await self._problem(self._checked_text(finish, []))
        if problem is not None:
            state.pay(finish.usage)
            raise InvalidOutput(f"The model answered twice, and neither answer matches 'text.format': {problem}")
        return finish

    async def _problem(self, text: str | None) -> str | None:
        if text is None:
            return None
        context = self.state.context
        return await self.state.attempt.parts.schema_checks.format_problem(context.request, text, context.start.tenant)

    def _checked_text(self, finish: Finish, held: Sequence[TextDelta]) -> str | None:
        """The text that has to fit `text.format`; None for an answer that was cut off, is a refusal, or calls tools
        first."""
        if finish.reason != "stop" or self.assembler.has_calls:
            return None
        if held:
            return "".join(delta.text for delta in held)
        last = self.state.writer.fold.snapshot()[-1:]
        if not last or last[0]["type"] != "message":
            return None
        parts = last[0]["content"]
        return None if any(part["type"] == "refusal" for part in parts) else "".join(part["text"] for part in parts)


def _corrected(call: SampleCall, answer: str, problem: str) -> SampleCall:
    """The same call, behind an answer that does not fit `text.format` and the problem with it."""
    wrong = AssistantMessage(type="message", role="assistant", content=answer)
    again = UserMessage(
        type="message", role="user", content=f"That does not have the form that was asked for: {problem}. Answer again."
    )
    return replace(call, items=[*call.items, *([wrong] if answer else []), again])
