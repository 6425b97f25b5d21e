"""A conversation cut to what a model's context window takes (REQ-3, `truncation`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from open_responses.context.excerpt import shorten_results
from open_responses.errors import ContextLengthExceeded
from open_responses.schema.items import (
    DeveloperMessage,
    FunctionCall,
    FunctionCallOutput,
    InputItem,
    SystemMessage,
    UserMessage,
)

# Other vocabularies than the counter's make more tokens of the same text.
_MARGIN = 0.9
# Dropped in steps of this share of the budget: what is sent begins the same on the next turns, and a provider that
# caches by prefix does not read all of it anew each time.
_STEP = 1 / 16
_SHORTEST_RESULT = 500

Counter = Callable[[InputItem], int]


def budget(window: int, max_output_tokens: int | None) -> int:
    """Tokens of the window for what is sent; the rest is for the answer."""
    answer = min(max_output_tokens or window // 8, window // 2)
    return int((window - answer) * _MARGIN)


def check_fits(tokens: int, window: int) -> None:
    """For `truncation: disabled`. Raises ContextLengthExceeded."""
    if tokens > window:
        raise ContextLengthExceeded(
            f"The input has about {tokens:,} tokens; the model's context window takes {window:,}. "
            "Send less, or set truncation to 'auto' to drop the oldest turns.",
            param="input",
        )


def fit(items: Sequence[InputItem], tokens: int, count: Counter) -> list[InputItem]:
    """The items, oldest first, cut to at most this many tokens.

    What goes, in this order: whole turns from the oldest on (a turn begins with the user's message); then, within the
    newest turn, the oldest rounds of reasoning, calls and outputs; then the middle of long results in the newest round.
    What stays: system and developer messages, the newest user message, the newest round; no call without its output.
    Raises ContextLengthExceeded if that is still too long.
    """
    blocks = _blocks(items, count)
    total = sum(block.tokens for block in blocks)
    if total <= tokens:
        return list(items)
    step = max(1, int(tokens * _STEP))
    excess = -(-(total - tokens) // step) * step
    for group in _droppable(blocks):
        if excess <= 0:
            break
        for block in group:
            block.dropped = True
            excess -= block.tokens
    return _with_short_results(_kept(blocks), tokens, count)


def without_oldest_rounds(items: Sequence[InputItem], tokens: int, count: Counter) -> list[InputItem] | None:
    """The items, cut to at most this many tokens with each prompt left in its place as long as can be.

    What goes: the oldest rounds of whichever turn, then the oldest prompts. None if the newest round, the newest prompt
    and the instructions alone are too long.
    """
    blocks = _blocks(items, count)
    excess = sum(block.tokens for block in blocks) - tokens
    rounds = [block for block in blocks if not block.is_prompt]
    prompts = [block for block in blocks if block.is_prompt and block.turn >= 0]
    for block in [*rounds[:-1], *prompts[:-1]]:
        if excess <= 0:
            break
        block.dropped = True
        excess -= block.tokens
    return _kept(blocks) if excess <= 0 else None


@dataclass(slots=True)
class _Block:
    """What is dropped together. `turn` counts from 0; -1 for what always stays."""

    turn: int
    is_prompt: bool
    items: list[InputItem] = field(default_factory=list)
    tokens: int = 0
    dropped: bool = False


def _blocks(items: Sequence[InputItem], count: Counter) -> list[_Block]:
    blocks: list[_Block] = []
    turn = 0
    previous: InputItem | None = None
    for item in items:
        if isinstance(item, SystemMessage | DeveloperMessage):
            blocks.append(_Block(-1, is_prompt=True, items=[item], tokens=count(item)))
            continue
        begins_turn = isinstance(item, UserMessage) and not isinstance(previous, UserMessage)
        begins_round = not isinstance(item, FunctionCallOutput | UserMessage) and isinstance(
            previous, FunctionCallOutput | UserMessage
        )
        turn += begins_turn and previous is not None
        if not blocks or previous is None or begins_turn or begins_round or blocks[-1].turn == -1:
            blocks.append(_Block(turn, is_prompt=isinstance(item, UserMessage)))
        blocks[-1].items.append(item)
        blocks[-1].tokens += count(item)
        previous = item
    return blocks


def _droppable(blocks: Sequence[_Block]) -> list[list[_Block]]:
    """In the order in which they go: the older turns, then the newest turn's rounds but for its last."""
    newest = max((block.turn for block in blocks), default=0)
    older: list[list[_Block]] = [[] for _ in range(newest)]
    for block in blocks:
        if 0 <= block.turn < newest:
            older[block.turn].append(block)
    rounds = [[block] for block in blocks if block.turn == newest and not block.is_prompt]
    return older + rounds[:-1]


def _kept(blocks: Iterable[_Block]) -> list[InputItem]:
    return _paired(item for block in blocks if not block.dropped for item in block.items)


def _paired(items: Iterable[InputItem]) -> list[InputItem]:
    """Without outputs whose call is gone, and calls whose output is."""
    listed = list(items)
    called = {item.call_id for item in listed if isinstance(item, FunctionCall)}
    answered = {item.call_id for item in listed if isinstance(item, FunctionCallOutput)}
    return [
        item
        for item in listed
        if not (isinstance(item, FunctionCallOutput) and item.call_id not in called)
        and not (isinstance(item, FunctionCall) and item.call_id not in answered)
    ]


def _with_short_results(items: list[InputItem], tokens: int, count: Counter) -> list[InputItem]:
    limit = tokens * 4
    fitting = items
    while (total := sum(map(count, fitting))) > tokens:
        if limit < _SHORTEST_RESULT:
            raise ContextLengthExceeded(
                f"The newest turn alone has about {total:,} tokens; the model's context window leaves {tokens:,} "
                "for it.",
                param="input",
            )
        fitting = shorten_results(items, limit)
        limit //= 2
    return fitting
