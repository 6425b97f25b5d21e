"""What a response takes of its conversation into its own start: all that a model may still read, and no more.

What this prevents: a start that grows with each turn although a summary stands for most of it, and a conversation that
no provider takes any more because one item of it was deleted.
"""

from __future__ import annotations

from collections.abc import Sequence

from open_responses.context.call_pairing import orphaned_outputs
from open_responses.conversations.state import ConversationState, Entry
from open_responses.loop.payloads import Remembered, RememberedTurn


def remembered(state: ConversationState) -> Remembered | None:
    """The conversation in the start of the response that answers it. None for an empty one."""
    turns: list[RememberedTurn] = []
    before: Entry | None = None
    for entry in _since_summary(_without_orphans(state.entries)):
        if before is None or (before.is_output and (not entry.is_output or before.response_id != entry.response_id)):
            turns.append(RememberedTurn(input=[], output=[]))
        (turns[-1].output if entry.is_output else turns[-1].input).append(entry.item)
        before = entry
    return Remembered(turns=turns) if turns else None


def _without_orphans(entries: Sequence[Entry]) -> list[Entry]:
    """No provider takes the output of a call that is not there any more."""
    orphans = orphaned_outputs(entry.item for entry in entries)
    return [entry for entry in entries if entry.item["id"] not in orphans]


def _since_summary(entries: Sequence[Entry]) -> list[Entry]:
    """The newest compaction and what came after it; before it, what stays in its own words (`from_summary`):
    instructions, and the newest prompt."""
    last = max((i for i, entry in enumerate(entries) if entry.item["type"] == "compaction"), default=0)
    roles = [entry.item.get("role") for entry in entries[:last]]
    end = max((i for i, role in enumerate(roles) if role == "user"), default=-1)
    begin = end
    while begin > 0 and roles[begin - 1] == "user":
        begin -= 1
    kept = [entry for i, entry in enumerate(entries[:last]) if roles[i] in ("system", "developer") or begin <= i <= end]
    return [*kept, *entries[last:]]
