"""The part of a conversation that goes into the start of a response: the items that a model may still read.

What this prevents: a start that grows with each response although a summary replaces most of the items, and a
conversation that every provider rejects because one of its items was deleted.
"""

from __future__ import annotations

from collections.abc import Sequence

from open_responses.context.call_pairing import orphaned_outputs
from open_responses.conversations.payloads import ConversationState, Entry
from open_responses.loop.payloads.start import Remembered, RememberedExchange


def remembered(state: ConversationState) -> Remembered | None:
    """The conversation as the start of a response has it. None for an empty one."""
    exchanges: list[RememberedExchange] = []
    before: Entry | None = None
    for entry in _since_summary(_without_orphans(state.entries)):
        if before is None or (before.is_output and (not entry.is_output or before.response_id != entry.response_id)):
            exchanges.append(RememberedExchange(input=[], output=[]))
        (exchanges[-1].output if entry.is_output else exchanges[-1].input).append(entry.item)
        before = entry
    return Remembered(turns=exchanges) if exchanges else None


def _without_orphans(entries: Sequence[Entry]) -> list[Entry]:
    """The entries without outputs whose call was deleted: every provider rejects those."""
    orphans = orphaned_outputs(entry.item for entry in entries)
    return [entry for entry in entries if entry.item["id"] not in orphans]


def _since_summary(entries: Sequence[Entry]) -> list[Entry]:
    """The newest compaction and the entries after it.

    Of the entries before it, instructions and the newest prompt stay too: a summary does not replace them
    (`from_summary`).
    """
    last = max((i for i, entry in enumerate(entries) if entry.item["type"] == "compaction"), default=0)
    roles = [entry.item.get("role") for entry in entries[:last]]
    end = max((i for i, role in enumerate(roles) if role == "user"), default=-1)
    begin = end
    while begin > 0 and roles[begin - 1] == "user":
        begin -= 1
    kept = [entry for i, entry in enumerate(entries[:last]) if roles[i] in ("system", "developer") or begin <= i <= end]
    return [*kept, *entries[last:]]
