"""Reads what chat servers send beside the text: generated images, and the pages that an answer cites.

Sources: openrouter.ai/docs image-generation (`images`) and web-search (`annotations`); docs.perplexity.ai (`citations`,
`search_results`); docs.x.ai live-search (`citations`); agentjido/req_llm#933 (images in a stream).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from activities.providers.shared.data_urls import read_data_url
from activities.providers.shared.json_objects import as_object
from open_responses.deltas import Delta, ProviderItem, TextAnnotation, TextDelta
from open_responses.json_types import JsonObject

_MARK = re.compile(r"\[(\d{1,4})\]")


_LISTS = frozenset({"citations", "search_results"})


class Images:
    """The images of an answer, each once: some servers repeat them in the last chunk."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def read(self, given: Any) -> list[Delta]:
        if not given:
            return []
        found = (self._image(as_object(image)) for image in _list(given))
        return [delta for delta in found if delta is not None]

    def _image(self, image: JsonObject) -> Delta | None:
        """Return an image as OpenAI's clients know it. One that has only an address is a link in the text, because
        `image_generation_call` has no place for addresses."""
        where = image.get("image_url") or image.get("url") or ""
        url = where if isinstance(where, str) else as_object(where).get("url")
        if not isinstance(url, str) or not url or hash(url) in self._seen:
            return None
        self._seen.add(hash(url))
        data = read_data_url(url)
        if data is None:
            return TextDelta(f"![image]({url})")
        kind = data.kind.removeprefix("image/") or "png"
        return ProviderItem({"type": "image_generation_call", "result": data.data, "output_format": kind})


class CitedPages:
    """The pages that a server lists for a whole answer, and the text in which `[1]` refers to the first of them."""

    def __init__(self) -> None:
        self._pages: list[tuple[str, str]] = []
        self._titles: dict[str, str] = {}
        self._annotated: set[str] = set()
        self._texts: list[str] = []
        self._is_in_text = False

    def read(self, *places: JsonObject) -> None:
        """Take the lists of a chunk, its choice and its delta. Each chunk may repeat them."""
        for place in places:
            if _LISTS.isdisjoint(place):
                continue
            if place.get("citations"):
                self._pages = [page for page in map(_page, _list(place["citations"])) if page is not None]
            for page in map(_page, _list(place.get("search_results"))):
                if page is not None:
                    self._titles[page[0]] = page[1]

    def passed_on(self, deltas: Iterable[Delta]) -> None:
        """Take note of the deltas, to know the text of the message that is open."""
        for delta in deltas:
            if isinstance(delta, TextDelta):
                self.passed_on_text(delta.text)
            elif isinstance(delta, TextAnnotation):
                self._annotated.add(str(delta.annotation.get("url")))
            else:
                self._is_in_text = False

    def passed_on_text(self, text: str) -> None:
        """Take note of a piece of text."""
        if not self._is_in_text:
            self._texts.clear()
        self._is_in_text = True
        self._texts.append(text)

    def annotations(self) -> list[Delta]:
        """Return the citations at the answer's end: one for each mark in the text, and for a page without a mark one at
        the end of the text."""
        pages = self._pages or [*self._titles.items()]
        if not pages or not self._is_in_text:
            return []
        text = "".join(self._texts)
        marked = [(int(mark[1]) - 1, mark.start(), mark.end()) for mark in _MARK.finditer(text)]
        marked = [(at, start, end) for at, start, end in marked if 0 <= at < len(pages)]
        bare = set(range(len(pages))) - {at for at, _, _ in marked}
        places = [*marked, *((at, len(text), len(text)) for at in sorted(bare))]
        return [
            TextAnnotation(_citation(pages[at][0], self._titles.get(pages[at][0]) or pages[at][1], start, end))
            for at, start, end in places
            if pages[at][0] not in self._annotated
        ]


def annotations_of(given: Any) -> list[Delta]:
    """Return citations as the specification's `url_citation`. Those of OpenAI and OpenRouter have its members one level
    deeper."""
    if not given:
        return []
    found = [as_object(annotation) for annotation in _list(given)]
    cited = [as_object(one.get("url_citation")) for one in found if one.get("type") == "url_citation"]
    return [
        TextAnnotation(
            _citation(
                one.get("url") or "", one.get("title") or "", one.get("start_index") or 0, one.get("end_index") or 0
            )
        )
        for one in cited
    ]


def _citation(url: str, title: str, start: int, end: int) -> JsonObject:
    return {"type": "url_citation", "url": url, "title": title, "start_index": start, "end_index": end}


def _page(given: Any) -> tuple[str, str] | None:
    """(address, title) of an address, or of an object with one."""
    page = {"url": given} if isinstance(given, str) else as_object(given)
    url = page.get("url")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        return None
    return url, str(page.get("title") or "")


def _list(given: Any) -> list[Any]:
    return given if isinstance(given, list) else []
