"""Compaction: replaces the older part of a long conversation by a summary that the model writes.

As in OpenAI's `context_management`, the summary is an item of the output. It is sealed, so that a client cannot change
it before it sends it back. Models do not read the items before it again.

What this prevents: a summary of a conversation that its model did not read. The model reads the whole conversation, or
an excerpt of each part. If not even the excerpts fit, there is no summary, and the conversation stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from open_responses.context.excerpt import excerpt, shortened
from open_responses.context.tokens import count_tokens
from open_responses.context.truncation import without_oldest_rounds
from open_responses.contracts import SampleCall
from open_responses.deltas import FinishReason
from open_responses.ids import new_id
from open_responses.json_types import JsonObject
from open_responses.schema.client_items import AdditionalTools, ConfigurationUpdate, CustomToolCall
from open_responses.schema.items import (
    CALLS,
    OUTPUTS,
    AssistantMessage,
    Compaction,
    DeveloperMessage,
    FunctionCall,
    InputItem,
    Reasoning,
    SystemMessage,
    UserMessage,
)

ORDER = (
    "The conversation so far is about to be replaced by what you write now. Write down all that is needed to go on "
    "without it: what the user wants, what was found and decided, which tools gave which results (names, numbers and "
    "quotations as they are), and what is still to be done. Write notes, not an answer; a thousand words at most."
)
_PREFACE = "The conversation before this point was replaced by these notes on it:\n\n"
_CUT_OFF = "\n[The notes end here: they had reached their limit.]"
# A summary that would save less than this share of the threshold is not worth a sample.
_WORTH = 4
# A thousand words, and the reasoning before them.
_LONGEST_NOTES = 8192
_SHORTEST_NOTES = 128
# Characters that are left of each long text. In steps, so that no more is cut than has to be.
_CUTS = (8000, 2000, 500)


def is_due(items: Sequence[InputItem], threshold: int, count: Callable[[InputItem], int]) -> bool:
    """Whether the context is longer than `threshold`, in tokens, and a summary would shorten it."""
    if sum(map(count, items)) <= threshold:
        return False
    return sum(map(count, _replaceable(items))) > threshold // _WORTH


def notes_limit(threshold: int, window: int | None, max_output_tokens: int | None) -> int | None:
    """The most tokens that the summary may have. None if they are too few to be of use: the conversation then stays.

    The limit leaves half of the budget to the answer, three quarters of the window to the rest of the context, and half
    of the threshold to the conversation that follows.
    """
    limits = [_LONGEST_NOTES, threshold // 2]
    limits += [] if window is None else [window // 4]
    limits += [] if max_output_tokens is None else [max_output_tokens // 2]
    return min(limits) if min(limits) >= _SHORTEST_NOTES else None


def summary_call(call: SampleCall, max_output_tokens: int) -> SampleCall:
    """The call that writes the summary: the same context, then the instruction to write it, and no tools."""
    order = UserMessage(type="message", role="user", content=ORDER)
    request = call.request.model_copy(update={"text": None, "truncation": "auto", "top_logprobs": None})
    return replace(
        call,
        items=[*call.items, order],
        request=request,
        tools=(),
        provider_tools=(),
        tool_choice=None,
        max_output_tokens=max_output_tokens,
        prefix=None,
        resume_token=None,
    )


def condensed(items: Sequence[InputItem], tokens: int, count: Callable[[InputItem], int]) -> list[InputItem] | None:
    """The context to summarize, in at most `tokens` tokens. None if it would hold nothing that a summary can replace.

    Dropped in this order: reasoning before the newest round; the middle of long results, then of other long texts, the
    oldest first; then whole rounds, the oldest first.
    """
    kept = list(items)
    if sum(map(count, kept)) > tokens:
        newest = _newest_round(kept)
        kept = [item for i, item in enumerate(kept) if i >= newest or not isinstance(item, Reasoning)]
    _cut(kept, tokens, count)
    fitting = without_oldest_rounds(kept, tokens, count)
    return fitting if fitting is not None and _replaceable(fitting) else None


def usable_notes(text: str, reason: FinishReason, limit: int) -> str | None:
    """The text of the summary as it is stored; None if the answer is no summary. `limit` is in tokens.

    A note at the end marks a summary that was cut off, so that the model that reads it does not take it for complete.
    """
    if reason not in ("stop", "length") or not text.strip():
        return None
    if len(text) > limit and count_tokens(text) > limit * 5 // 4:
        # Not every server keeps to `max_output_tokens`.
        text = excerpt(text, limit * 3)
    return text + _CUT_OFF if reason == "length" else text


def compaction_item(encrypted_content: str) -> JsonObject:
    """Return a new `compaction` item."""
    return {"type": "compaction", "id": new_id("cmp_"), "encrypted_content": encrypted_content}


def owner(tenant: str) -> str:
    """The owner that a summary is sealed for: another tenant cannot unseal it."""
    return f"compaction:{tenant}"


def from_summary(items: Sequence[InputItem], unseal: Callable[[str], str]) -> list[InputItem]:
    """A conversation with compactions as the model reads it: instructions, the newest summary, and the items after it.

    If no prompt follows the summary, the newest one before it stays: the model was answering it, and reads it in the
    user's own words.
    """
    last = max((i for i, item in enumerate(items) if isinstance(item, Compaction)), default=None)
    if last is None:
        return list(items)
    before, compaction, after = items[:last], items[last], items[last + 1 :]
    assert isinstance(compaction, Compaction)
    notes = DeveloperMessage(type="message", role="developer", content=_PREFACE + unseal(compaction.encrypted_content))
    prompt = [] if any(isinstance(item, UserMessage) for item in after) else _newest_prompt(before)
    return [*_instructions(before), notes, *prompt, *after]


def _instructions(items: Sequence[InputItem]) -> list[InputItem]:
    """Messages of the system and the developer, and for a provider that reads them, what is offered."""
    kinds = SystemMessage | DeveloperMessage | AdditionalTools | ConfigurationUpdate
    return [item for item in items if isinstance(item, kinds)]


def _newest_prompt(items: Sequence[InputItem]) -> list[InputItem]:
    """The last message of the user, with those right before it."""
    end = max((i for i, item in enumerate(items) if isinstance(item, UserMessage)), default=None)
    if end is None:
        return []
    begin = end
    while begin and isinstance(items[begin - 1], UserMessage):
        begin -= 1
    return list(items[begin : end + 1])


def _replaceable(items: Sequence[InputItem]) -> list[InputItem]:
    """The items that a summary would replace."""
    kept = {id(item) for item in _instructions(items)} | {id(item) for item in _newest_prompt(items)}
    return [item for item in items if id(item) not in kept]


def _newest_round(items: Sequence[InputItem]) -> int:
    """The index at which the newest round begins, with its reasoning: Anthropic rejects calls without theirs."""
    begin = max((i for i, item in enumerate(items) if isinstance(item, (*CALLS, AssistantMessage))), default=0)
    while begin and not isinstance(items[begin - 1], (*OUTPUTS, UserMessage)):
        begin -= 1
    return begin


def _cut(items: list[InputItem], tokens: int, count: Callable[[InputItem], int]) -> None:
    """Shorten items in the list, no more of them than necessary."""
    total = sum(map(count, items))
    for limit in _CUTS:
        for may_be_cut in (_is_result, _is_other_text):
            for index, item in enumerate(items):
                if total <= tokens:
                    return
                if may_be_cut(item):
                    items[index] = shortened(item, limit)
                    total += count(items[index]) - count(item) if items[index] is not item else 0


def _is_result(item: InputItem) -> bool:
    return isinstance(item, OUTPUTS)


def _is_other_text(item: InputItem) -> bool:
    """Reasoning and providers' own items are signed, and are not cut."""
    return isinstance(item, UserMessage | AssistantMessage | FunctionCall | CustomToolCall)
