"""Truncation: drops the oldest items of a conversation that exceeds a model's context window (REQ-3, `truncation`).

An exchange is a prompt of the user and all items up to the next prompt. A round is one answer of the model with the
outputs of its calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from open_responses.context.excerpt import shorten_results
from open_responses.errors import ContextLengthExceeded
from open_responses.schema.client_items import AdditionalTools, ConfigurationUpdate
from open_responses.schema.items import (
    CALLS,
    OUTPUTS,
    DeveloperMessage,
    InputItem,
    SystemMessage,
    UserMessage,
)

# Some models' vocabularies make more tokens of a text than the one that is counted with.
_MARGIN = 0.9
# Items are dropped in steps of this share of the budget. The next requests then begin with the same items, and a
# provider that caches by prefix does not process all of them again each time.
_STEP = 1 / 16
_SHORTEST_RESULT = 500
# What a model reads before it answers.
_INPUTS = (*OUTPUTS, UserMessage)

Counter = Callable[[InputItem], int]


def budget(window: int, max_output_tokens: int | None) -> int:
    """The tokens of the window that the input may have; the rest is for the answer."""
    answer = min(max_output_tokens or window // 8, window // 2)
    return int((window - answer) * _MARGIN)


def check_fits(tokens: int, window: int) -> None:
    """Check the input of a request with `truncation: disabled`. Raises ContextLengthExceeded."""
    if tokens > window:
        raise ContextLengthExceeded(
            f"Your input has about {tokens:,} tokens, and the model's context window takes {window:,}.",
            param="input",
        )


def fit(items: Sequence[InputItem], tokens: int, count: Counter) -> list[InputItem]:
    """The items, oldest first, cut to at most `tokens` tokens.

    Dropped in this order: whole exchanges, the oldest first; then the oldest rounds of the newest exchange; then the
    middle of long results in the newest round. Instructions, the newest prompt and the newest round stay. No call stays
    without its output.

    Raises:
        ContextLengthExceeded: The items that stay are too long.
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
    """The items, cut to at most `tokens` tokens; prompts stay as long as possible.

    Dropped in this order: the oldest rounds of any exchange, then the oldest prompts. None if the newest round, the
    newest prompt and the instructions alone are too long.
    """
    blocks = _blocks(items, count)
    excess = sum(block.tokens for block in blocks) - tokens
    rounds = [block for block in blocks if not block.is_prompt]
    prompts = [block for block in blocks if block.is_prompt and block.exchange >= 0]
    for block in [*rounds[:-1], *prompts[:-1]]:
        if excess <= 0:
            break
        block.dropped = True
        excess -= block.tokens
    return _kept(blocks) if excess <= 0 else None


@dataclass(slots=True)
class _Block:
    """Items that are dropped together. `exchange` counts from 0; -1 marks instructions, which always stay."""

    exchange: int
    is_prompt: bool
    items: list[InputItem] = field(default_factory=list)
    tokens: int = 0
    dropped: bool = False


def _blocks(items: Sequence[InputItem], count: Counter) -> list[_Block]:
    blocks: list[_Block] = []
    exchange = 0
    previous: InputItem | None = None
    for item in items:
        if isinstance(item, SystemMessage | DeveloperMessage | AdditionalTools | ConfigurationUpdate):
            blocks.append(_Block(-1, is_prompt=True, items=[item], tokens=count(item)))
            continue
        begins_exchange = isinstance(item, UserMessage) and not isinstance(previous, UserMessage)
        begins_round = not isinstance(item, _INPUTS) and isinstance(previous, _INPUTS)
        exchange += begins_exchange and previous is not None
        if not blocks or previous is None or begins_exchange or begins_round or blocks[-1].exchange == -1:
            blocks.append(_Block(exchange, is_prompt=isinstance(item, UserMessage)))
        blocks[-1].items.append(item)
        blocks[-1].tokens += count(item)
        previous = item
    return blocks


def _droppable(blocks: Sequence[_Block]) -> list[list[_Block]]:
    """Groups of blocks in the order of dropping: older exchanges, then the rounds of the newest, except its last."""
    newest = max((block.exchange for block in blocks), default=0)
    older: list[list[_Block]] = [[] for _ in range(newest)]
    for block in blocks:
        if 0 <= block.exchange < newest:
            older[block.exchange].append(block)
    rounds = [[block] for block in blocks if block.exchange == newest and not block.is_prompt]
    return older + rounds[:-1]


def _kept(blocks: Iterable[_Block]) -> list[InputItem]:
    return _paired(item for block in blocks if not block.dropped for item in block.items)


def _paired(items: Iterable[InputItem]) -> list[InputItem]:
    """The items without outputs whose call was dropped, and without calls whose output was."""
    listed = list(items)
    called = {item.call_id for item in listed if isinstance(item, CALLS)}
    answered = {item.call_id for item in listed if isinstance(item, OUTPUTS)}
    return [
        item
        for item in listed
        if not (isinstance(item, OUTPUTS) and item.call_id not in called)
        and not (isinstance(item, CALLS) and item.call_id not in answered)
    ]


def _with_short_results(items: list[InputItem], tokens: int, count: Counter) -> list[InputItem]:
    limit = tokens * 4
    fitting = items
    while (total := sum(map(count, fitting))) > tokens:
        if limit < _SHORTEST_RESULT:
            raise ContextLengthExceeded(
                f"The newest turn of your input alone has about {total:,} tokens, and the model's context window has "
                f"room for {tokens:,}.",
                param="input",
            )
        fitting = shorten_results(items, limit)
        limit //= 2
    return fitting
