"""Reads a conversation's entries in parts, and caches them.

A query result with the whole conversation becomes a file above 128 KiB. One file for each read would make a
conversation's files grow with the square of its responses.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from open_responses.conversations.payloads import ConversationPart, ConversationState, Entry, PartQuery

ReadPart: TypeAlias = Callable[[PartQuery], Awaitable[ConversationPart]]

_MOST_CHARACTERS = 32_000_000


@dataclass(frozen=True, slots=True)
class _Known:
    entries: list[Entry]
    run_id: str
    deletions: int
    characters: int


class KnownEntries:
    """A cache of the entries of the conversations that this process read last.

    Within one workflow run, entries are only added as long as the count of deletions stays the same, so only new
    entries have to be read. The cache is not used for another run: after a reset, that may be older than the cache.
    """

    def __init__(self, *, most_characters: int = _MOST_CHARACTERS) -> None:
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._limit = most_characters
        self._characters = 0

    async def read(self, summary: ConversationState, read_part: ReadPart) -> list[Entry] | None:
        """All entries, or None if the conversation was changed since `summary`."""
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
