"""A conversation's entries, read in parts and remembered.

What this prevents: an answer of Temporal's that holds all of a conversation. Above 128 KiB it would be a file for each
read, so that the files of a conversation would grow with the square of its turns.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from open_responses.conversations.state import ConversationPart, ConversationState, Entry, PartQuery

ReadPart: TypeAlias = Callable[[PartQuery], Awaitable[ConversationPart]]

_MOST_CHARACTERS = 32_000_000


@dataclass(frozen=True, slots=True)
class _Known:
    entries: list[Entry]
    run_id: str
    deletions: int
    characters: int


class KnownEntries:
    """What this process has read of the newest conversations. In one run, entries are only added until one is deleted,
    and the conversation counts its deletions: so what is new is all that has to be read. Another run may be that of a
    reset, to a point before entries that were read."""

    def __init__(self, *, most_characters: int = _MOST_CHARACTERS) -> None:
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._limit = most_characters
        self._characters = 0

    async def read(self, summary: ConversationState, read_part: ReadPart) -> list[Entry] | None:
        """All entries; None where the conversation was changed since `summary`."""
        known = self._known.get(summary.conversation_id)
        is_beginning = (
            known is not None
            and known.run_id == summary.run_id
            and known.deletions == summary.deletions
            and len(known.entries) <= summary.count
        )
        entries = list(known.entries) if known is not None and is_beginning else []
        while len(entries) < summary.count:
            part = await read_part(PartQuery(first=len(entries)))
            if (part.run_id, part.revision) != (summary.run_id, summary.revision) or not part.entries:
                return None
            entries += part.entries
        self._remember(summary, entries)
        return list(entries)

    def forget(self, conversation_id: str) -> None:
        known = self._known.pop(conversation_id, None)
        self._characters -= known.characters if known is not None else 0

    def _remember(self, summary: ConversationState, entries: list[Entry]) -> None:
        self.forget(summary.conversation_id)
        self._known[summary.conversation_id] = _Known(entries, summary.run_id, summary.deletions, summary.characters)
        self._characters += summary.characters
        while self._characters > self._limit:
            self.forget(next(iter(self._known)))
