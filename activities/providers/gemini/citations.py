"""Gemini's `groundingMetadata` to citations.

Source: ai.google.dev/api/generate-content (GroundingMetadata, Segment).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from activities.providers.shared.json_objects import as_object
from open_responses.deltas import Delta, TextAnnotation
from open_responses.json_types import JsonObject


class CitedText:
    """The answer's text. It converts Google's positions (bytes in the whole text) into ours (characters in one
    message)."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._before = 0
        self._sources: list[Any] = []
        self._given: set[tuple[int, int, str]] = set()

    @property
    def has_text(self) -> bool:
        """Whether there is an open message."""
        return bool(self._pieces)

    def add(self, text: str) -> None:
        if text:
            self._pieces.append(text)

    def end_message(self) -> None:
        if self._pieces:
            self._before += len("".join(self._pieces).encode())
            self._pieces.clear()
            self._given.clear()

    def annotations(self, metadata: JsonObject) -> list[Delta]:
        """The citations that lie within the open message, each once."""
        self._sources = metadata.get("groundingChunks") or self._sources
        supports = metadata.get("groundingSupports") or []
        message = "".join(self._pieces) if supports else ""
        found: list[Delta] = []
        for support in map(as_object, supports):
            span = self._span(as_object(support.get("segment")), message)
            if span is not None:
                found += self._citations(span, support.get("groundingChunkIndices") or [])
        return found

    def _citations(self, span: tuple[int, int], indices: Sequence[int]) -> list[Delta]:
        found: list[Delta] = []
        for index in indices:
            source = _source(self._sources[index]) if 0 <= index < len(self._sources) else None
            if source is None or (*span, source[0]) in self._given:
                continue
            self._given.add((*span, source[0]))
            citation = {"type": "url_citation", "url": source[0], "title": source[1]}
            found.append(TextAnnotation({**citation, "start_index": span[0], "end_index": span[1]}))
        return found

    def _span(self, segment: JsonObject, message: str) -> tuple[int, int] | None:
        """Return the position: by the bytes if they contain the quoted text, otherwise by a search for the text."""
        quoted, encoded = segment.get("text") or "", message.encode()
        for base in (self._before, 0):
            start, end = (segment.get("startIndex") or 0) - base, (segment.get("endIndex") or 0) - base
            if not 0 <= start < end <= len(encoded):
                continue
            text = encoded[start:end].decode(errors="replace")
            if not quoted or quoted == text:
                begin = len(encoded[:start].decode(errors="replace"))
                return begin, begin + len(text)
        at = message.find(quoted) if quoted else -1
        return (at, at + len(quoted)) if at >= 0 else None


def _source(chunk: Any) -> tuple[str, str] | None:
    """(address, title) of a web page, a place, a picture's page or a document with an address."""
    for kind in ("web", "maps", "image", "retrievedContext"):
        source = as_object(as_object(chunk).get(kind))
        address = source.get("sourceUri") or source.get("uri")
        if address:
            return address, source.get("title") or address
    return None
