"""Streams the text of a message or of reasoning, with the annotations of what it cites."""

from __future__ import annotations

from collections.abc import Mapping

from typing_extensions import override

from open_responses.events.citations import CitationReader, Cited
from open_responses.events.event_types import DELTA_EVENTS
from open_responses.events.fold import Fold, OpenItem, OpenPart
from open_responses.events.item_emitter import ItemEmitter
from open_responses.json_types import JsonObject


class TextEmitter(ItemEmitter):
    """Adds text to the parts of items.

    Args:
        fold: The output so far.
        response_id: The response.
        sources: The annotations that a text may cite, by their marks.
    """

    def __init__(self, fold: Fold, response_id: str, sources: Mapping[str, JsonObject]) -> None:
        super().__init__(fold, response_id)
        self._sources = sources
        # Of the open text, where there are sources.
        self._citations: CitationReader | None = None

    def _add_text(self, opened: OpenItem, part: OpenPart, text: str, logprobs: list[JsonObject] | None = None) -> None:
        # The probabilities are those of the text as the model wrote it.
        if part.kind == "output_text" and self._sources and not logprobs:
            self._citing(opened, part, text)
        else:
            self._end_citing(opened)
            self._extend(opened, part, text, logprobs)

    def _citing(self, opened: OpenItem, part: OpenPart, text: str) -> None:
        """Add text that may cite sources."""
        if self._citations is None:
            self._citations = CitationReader(self._sources)
        for piece in self._citations.feed(text):
            if not isinstance(piece, Cited):
                self._extend(opened, part, piece)
                continue
            start = len(part.text)
            self._extend(opened, part, piece.text)
            self._annotate_part(opened, part, piece.at(start))

    @override
    def _end_citing(self, opened: OpenItem) -> None:
        """Add the text that waits for the end of a mark."""
        part = opened.part
        if self._citations is not None and part is not None and part.kind == "output_text":
            citations, self._citations = self._citations, None
            self._extend(opened, part, citations.rest())

    def _extend(self, opened: OpenItem, part: OpenPart, text: str, logprobs: list[JsonObject] | None = None) -> None:
        if not text and not logprobs:
            return
        kind = part.kind
        event: JsonObject = {
            "type": DELTA_EVENTS[kind],
            "item_id": opened.item["id"],
            "output_index": opened.index,
            "content_index": part.index,
            "delta": text,
        }
        if kind == "output_text":
            event["logprobs"] = logprobs or []
        self._emit(event)

    def _annotate_given(self, opened: OpenItem, part: OpenPart, annotation: JsonObject) -> None:
        """Add a provider's annotation, which counts the characters of the model's own text."""
        moved = annotation if self._citations is None else self._citations.moved(annotation)
        self._annotate_part(opened, part, moved)

    def _annotate_part(self, opened: OpenItem, part: OpenPart, annotation: JsonObject) -> None:
        self._emit(
            {
                "type": "response.output_text.annotation.added",
                "item_id": opened.item["id"],
                "output_index": opened.index,
                "content_index": part.index,
                "annotation_index": len(part.annotations),
                "annotation": annotation,
            }
        )
