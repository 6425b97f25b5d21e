"""A long conversation in fewer words: when it is due, what is asked of the model, and what is read afterwards.

As OpenAI has it (`context_management`): the summary is an item of the output, sealed, since what a model wrote about a
conversation is not to be changed on its way back. What comes before it is not read again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from open_responses.contracts import SampleCall
from open_responses.ids import new_id
from open_responses.items import Compaction, DeveloperMessage, InputItem, SystemMessage, UserMessage
from open_responses.json_types import JsonObject

ORDER = (
    "The conversation so far is about to be replaced by what you write now. Write down all that is needed to go on "
    "without it: what the user wants, what was found and decided, which tools gave which results (names, numbers and "
    "quotations as they are), and what is still to be done. Write notes, not an answer."
)
_PREFACE = "The conversation before this point was replaced by these notes on it:\n\n"
# A summary that would save less than this share of the threshold is not worth a sample.
_WORTH = 4


def is_due(items: Sequence[InputItem], threshold: int, count: Callable[[InputItem], int]) -> bool:
    """Whether the context is longer than that, in tokens, and a summary would shorten it."""
    if sum(map(count, items)) <= threshold:
        return False
    kept = {id(item) for item in _instructions(items)} | {id(item) for item in _newest_prompt(items)}
    return sum(count(item) for item in items if id(item) not in kept) > threshold // _WORTH


def summary_call(call: SampleCall) -> SampleCall:
    """The sample that writes the summary: the same context, an order, and no tools."""
    order = UserMessage(type="message", role="user", content=ORDER)
    request = call.request.model_copy(update={"text": None, "truncation": "auto", "top_logprobs": None})
    items = [*call.items, order]
    return replace(call, items=items, request=request, tools=(), tool_choice=None, max_output_tokens=None, prefix=None)


def compaction_item(encrypted_content: str) -> JsonObject:
    return {"type": "compaction", "id": new_id("cmp_"), "encrypted_content": encrypted_content}


def owner(tenant: str) -> str:
    """What a sealed summary is bound to."""
    return f"compaction:{tenant}"


def from_summary(items: Sequence[InputItem], unseal: Callable[[str], str]) -> list[InputItem]:
    """What the model reads of a conversation with compactions: instructions, the newest summary, what came after it.

    The prompt that was being answered when it was written stays in the user's own words.
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
    return [item for item in items if isinstance(item, SystemMessage | DeveloperMessage)]


def _newest_prompt(items: Sequence[InputItem]) -> list[InputItem]:
    """The last message of the user, with those right before it."""
    end = max((i for i, item in enumerate(items) if isinstance(item, UserMessage)), default=None)
    if end is None:
        return []
    begin = end
    while begin and isinstance(items[begin - 1], UserMessage):
        begin -= 1
    return list(items[begin : end + 1])
