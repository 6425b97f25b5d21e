"""What a connection remembers: its newest response, if that is stored nowhere (WS-4, WS-5).

What this prevents: a chain that dies with its process. The next response carries in its own start what is remembered,
and from then on its workflow needs neither this connection nor this process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from open_responses.context.call_pairing import check_calls_are_answered
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.start import Remembered, RememberedExchange, StartResponse
from open_responses.schema.requests import CreateResponse


@dataclass(frozen=True, slots=True)
class HeldResponse:
    """A response that only its connection has, and what came before it.

    `ancestors` are the stored responses at the chain's beginning, oldest first; `turns` came after them, this response
    last; `pieces` stand for those of a conversation that came before the turns. `own` are the functions that the server
    ran in it. `size` is that of the turns, in bytes of JSON, and `stored_bytes` that of what came before them.
    """

    response_id: str
    ancestors: tuple[str, ...]
    turns: tuple[RememberedExchange, ...]
    own: frozenset[str]
    size: int
    conversation_id: str | None = None
    pieces: tuple[str, ...] = ()
    stored_bytes: int = 0
    is_warm_up: bool = False
    is_checked: bool = False

    @property
    def remembered(self) -> Remembered:
        return Remembered(
            after=self.ancestors[-1] if self.ancestors else None,
            conversation_id=self.conversation_id,
            pieces=list(self.pieces),
            turns=list(self.turns),
        )

    @property
    def waiting_input(self) -> list[JsonObject]:
        """The input of a warm-up, which a request without any of its own is to answer."""
        return self.turns[-1].input if self.is_warm_up else []

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it that a model could answer."""
        return not self.ancestors and not self.pieces and not any(turn.input or turn.output for turn in self.turns)

    def before_input(self) -> HeldResponse:
        """What came before the input of a warm-up. It was checked when it came."""
        return replace(self, turns=self.turns[:-1], is_warm_up=False, is_checked=True)

    def check_continues(self, asked: CreateResponse) -> None:
        """Raises InvalidRequest for calls that the input of a request which continues this response does not answer."""
        if not self.is_checked:
            check_calls_are_answered(asked.input_items(), self.turns[-1].output, own=self.own)


def held_after(
    start: StartResponse,
    ancestors: tuple[str, ...],
    output: Sequence[JsonObject],
    *,
    size_before: int = 0,
    is_warm_up: bool = False,
) -> HeldResponse:
    """What is to be remembered of a response that has ended. A warm-up may come without an input: that is empty."""
    given = start.given_input()
    if isinstance(given, str):
        given = [{"type": "message", "role": "user", "content": given}] if given or not is_warm_up else []
    turn = RememberedExchange(input=given, output=list(output))
    before = start.remembered or Remembered()
    return HeldResponse(
        response_id=start.response_id,
        ancestors=ancestors,
        turns=(*before.turns, turn),
        conversation_id=before.conversation_id,
        pieces=tuple(before.pieces),
        own=frozenset(tool.name for tool in start.hosted),
        size=size_before + len(turn.model_dump_json()),
        stored_bytes=start.earlier_bytes or 0,
        is_warm_up=is_warm_up,
    )
