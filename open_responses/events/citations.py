"""Turns the marks with which a model cites sources into annotations of its text.

The output of a built-in tool shows each source with a mark (`【1:2】`), and the model repeats the mark behind what it
uses. In the text that clients read, the mark of a page of the web becomes a link to it, with a `url_citation` over the
link; that of a file is taken out, with a `file_citation` at its place; that of a file which code has written becomes a
link to its path in the container, with a `container_file_citation` over it. So a citation is only ever of a source that
a tool has returned in this conversation: a mark that names none stays text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from open_responses.json_types import JsonObject
from open_responses.tool_use.container_files import FOLDER

_OPENING, _CLOSING = "【", "】"
# `【1:2】`, and what models that know OpenAI's marks make of it: `【1:2†source】`.
_MARK = re.compile(r"【\s*(\d{1,6}:\d{1,4})\s*(?:†[^【】]{0,100})?】")
# The longest text that is held back until its mark ends.
_LONGEST_MARK = 120
# Characters that would end the link, or the JSON string that it may be in.
_SAFE_IN_A_LINK = ":/?#[]@!$&'*+,;=%~-._"
_SAFE_IN_A_PATH = "/-._~"
# In the text of a link in Markdown these would end it.
_TEXT_OF_A_LINK = re.compile(r"[\[\]\\`<>\"]")


@dataclass(frozen=True, slots=True)
class Cited:
    """A cited source: the text in place of its mark, and the annotation without its indexes."""

    text: str
    annotation: JsonObject

    def at(self, start: int) -> JsonObject:
        """Return the annotation of this text at a position."""
        if self.annotation["type"] == "file_citation":
            return {**self.annotation, "index": start}
        return {**self.annotation, "start_index": start, "end_index": start + len(self.text)}


class CitationReader:
    """Reads one text as it arrives. A part of it that may become a mark waits for its end.

    Args:
        sources: The annotations that a text may cite, by their marks.
    """

    def __init__(self, sources: Mapping[str, JsonObject]) -> None:
        self._sources = sources
        self._held = ""
        self._length = 0
        # Where marks end in the model's text, each with the change of the length of what clients read, up to there.
        self._shifts: list[tuple[int, int]] = []

    def feed(self, text: str) -> Iterator[str | Cited]:
        """Yield the text that is known now, in order, with the sources that it cites."""
        whole, self._held = self._held + text, ""
        before, self._length = self._length - len(whole) + len(text), self._length + len(text)
        at = 0
        while (closing := whole.find(_CLOSING, at)) >= 0:
            opening = whole.rfind(_OPENING, at, closing)
            cited = None if opening < 0 else self._cited(whole[opening : closing + 1])
            if cited is None:
                yield whole[at : closing + 1]
            else:
                if opening > at:
                    yield whole[at:opening]
                change = len(cited.text) - (closing + 1 - opening)
                self._shifts.append((before + closing + 1, change + self._shift_at(before + opening)))
                yield cited
            at = closing + 1
        opening = whole.rfind(_OPENING, at)
        if opening >= 0 and len(whole) - opening <= _LONGEST_MARK:
            self._held, whole = whole[opening:], whole[:opening]
        if at < len(whole):
            yield whole[at:]

    def moved(self, annotation: JsonObject) -> JsonObject:
        """Return a provider's annotation of the model's text, with its indexes in the text that clients read."""
        return {
            **annotation,
            **{
                name: place + self._shift_at(place)
                for name in ("start_index", "end_index", "index")
                if isinstance(place := annotation.get(name), int)
            },
        }

    def _shift_at(self, place: int) -> int:
        return next((shift for end, shift in reversed(self._shifts) if end <= place), 0)

    def rest(self) -> str:
        """Return the text that still waits: it has ended, and is no mark."""
        rest, self._held = self._held, ""
        return rest

    def _cited(self, marked: str) -> Cited | None:
        found = _MARK.fullmatch(marked)
        source = None if found is None else self._sources.get(found[1])
        if source is None:
            return None
        if source["type"] == "file_citation":
            return Cited("", source)
        if source["type"] == "container_file_citation":
            name = source.get("filename") or "file"
            path = quote(f"{FOLDER}/{name}", safe=_SAFE_IN_A_PATH)
            return Cited(f"[{_TEXT_OF_A_LINK.sub(' ', name)}](sandbox:{path})", source)
        url = quote(source.get("url") or "", safe=_SAFE_IN_A_LINK)
        return Cited(f"([{_host(url)}]({url}))", source)


def _host(url: str) -> str:
    try:
        host = urlsplit(url).hostname or "source"
    except ValueError:
        return "source"
    return host.removeprefix("www.")
