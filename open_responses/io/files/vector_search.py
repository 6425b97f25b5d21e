"""Finds the chunks of an index that are nearest to queries, by the meaning of a text and by its words.

A score is between 0 and 1: the weighted mean of the cosine between the vectors, and of BM25 in relation to the best
match of the query. Every vector is compared: at the sizes of one store this takes milliseconds.

Only the engine's process imports this module: it keeps the vectors of the indexes that were searched last.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from open_responses.io.files.storage import Weights

_WORD = re.compile(r"\w+")
_MOST_WORDS = 64
_MOST_KEPT_BYTES = 256 * 1024 * 1024
_COMMON_CHUNKS, _COMMON_SHARE = 100, 0.1
"""A word that more chunks have, by number and by share of all, does not count."""
_MOST_OPEN = 64
"""Each index that is kept has an open file."""
_CANDIDATES = 200
"""The chunks with matching words whose BM25 counts."""


@dataclass(slots=True)
class _Loaded:
    """The vectors of an index, as they were at one moment."""

    inode: int
    connection: sqlite3.Connection
    version: int
    ids: np.ndarray
    files: np.ndarray
    names: list[str]
    vectors: np.ndarray


class VectorSearch:
    """Searches indexes by their paths."""

    def __init__(self) -> None:
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()

    def search(
        self,
        path: str,
        file_ids: Sequence[str],
        queries: Sequence[str],
        vectors: np.ndarray,
        weights: Weights,
        most: int,
    ) -> list[tuple[str, float, str]]:
        """Search one index.

        Args:
            path: The path of the index.
            file_ids: The files of which chunks may be found.
            queries: The queries. A chunk has the best of its scores for all of them.
            vectors: A row of length 1 for each query.
            weights: How much meaning and words count.
            most: The most chunks.

        Returns:
            (file id, score between 0 and 1, text) of the best chunks, best first.

        Raises:
            sqlite3.Error: The index cannot be read.
            ValueError: Another model made the vectors of the index.
        """
        self._close_deleted()
        if not Path(path).exists():
            return []
        index = self._load(path)
        allowed = set(file_ids)
        is_allowed = np.array([name in allowed for name in index.names], bool)
        chosen = np.flatnonzero(is_allowed[index.files]) if len(index.files) else np.zeros(0, np.int64)
        if not len(chosen):
            return []
        if vectors.shape[1] != index.vectors.shape[1]:
            raise ValueError("the index has vectors of another model")
        best = np.zeros(len(chosen), np.float32)
        total = weights.embedding + weights.text
        for query, vector in zip(queries, vectors, strict=True):
            # All of them: to choose the rows first would copy them.
            scores = np.clip((index.vectors @ vector)[chosen], 0, 1) * (weights.embedding / total)
            if weights.text:
                scores += _by_words(index, query, chosen) * (weights.text / total)
            np.maximum(best, scores, out=best)
        found = []
        for at in _first(best, most):
            row = index.connection.execute(
                "SELECT file_id, text FROM chunks WHERE id = ?", (int(index.ids[chosen[at]]),)
            ).fetchone()
            if row is not None:
                found.append((row[0], float(best[at]), row[1]))
        return found

    def _close_deleted(self) -> None:
        """The text of a deleted store stays on disk while its file is open here."""
        for path in [path for path in self._loaded if not Path(path).exists()]:
            self._loaded.pop(path).connection.close()

    def _load(self, path: str) -> _Loaded:
        inode = os.stat(path).st_ino
        kept = self._loaded.pop(path, None)
        if kept is not None:
            (version,) = kept.connection.execute("PRAGMA data_version").fetchone()
            if kept.inode == inode and kept.version == version:
                self._loaded[path] = kept
                return kept
            kept.connection.close()
        connection = sqlite3.connect(path, timeout=20, isolation_level=None)
        loaded = _read(connection, inode)
        self._loaded[path] = loaded
        while len(self._loaded) > 1 and (
            len(self._loaded) > _MOST_OPEN
            or sum(one.vectors.nbytes for one in self._loaded.values()) > _MOST_KEPT_BYTES
        ):
            _, old = self._loaded.popitem(last=False)
            old.connection.close()
        return loaded


def _read(connection: sqlite3.Connection, inode: int) -> _Loaded:
    (version,) = connection.execute("PRAGMA data_version").fetchone()
    ids: list[int] = []
    files: list[int] = []
    numbers: dict[str, int] = {}
    parts: list[bytes] = []
    for chunk_id, file_id, vector in connection.execute(
        "SELECT id, file_id, vector FROM chunks WHERE vector IS NOT NULL ORDER BY id"
    ):
        ids.append(chunk_id)
        files.append(numbers.setdefault(file_id, len(numbers)))
        parts.append(vector)
    vectors = np.frombuffer(b"".join(parts), np.float32).reshape(len(ids), -1) if ids else np.zeros((0, 0), np.float32)
    return _Loaded(inode, connection, version, np.array(ids), np.array(files, np.int64), list(numbers), vectors)


def _first(scores: np.ndarray, most: int) -> np.ndarray:
    """The places of the highest scores, highest first, and the first of equal ones first. Sorts no more than these."""
    if len(scores) > most:
        least = np.partition(scores, -most)[-most]
        places = np.flatnonzero(scores >= least)
    else:
        places = np.arange(len(scores))
    order: np.ndarray = places[np.argsort(-scores[places], kind="stable")][:most]
    return order


def _telling(index: _Loaded, words: list[str]) -> list[str]:
    """The words that few chunks have, each in quotes, so that none is an operator.

    A word that half of the chunks have does not tell them apart, and BM25 would compute a score for each
    of these chunks.
    """
    quoted = [f'"{word}"' for word in words]
    few = max(_COMMON_CHUNKS, len(index.ids) * _COMMON_SHARE)
    # A count stops where a word is common: the words of a sentence are in most chunks, and counting takes longer than
    # the search.
    counts = {word: _count(index, word, most=int(few) + 1) for word in quoted}
    found = sorted((word for word in quoted if 0 < counts[word] <= few), key=lambda word: counts[word])
    if found:
        return found
    return sorted((word for word in quoted if counts[word]), key=lambda word: _count(index, word))[:1]


def _count(index: _Loaded, word: str, most: int = -1) -> int:
    """The number of chunks with a word, up to `most`."""
    asked = "SELECT count(*) FROM (SELECT 1 FROM words WHERE words MATCH ? LIMIT ?)"
    (count,) = index.connection.execute(asked, (word, most)).fetchone()
    return int(count)


def _by_words(index: _Loaded, query: str, chosen: np.ndarray) -> np.ndarray:
    """For each chosen chunk, its BM25 in relation to that of the best."""
    scores = np.zeros(len(chosen), np.float32)
    words = list(dict.fromkeys(_WORD.findall(query.lower())))[:_MOST_WORDS]
    asked = " OR ".join(_telling(index, words))
    if not asked:
        return scores
    found = index.connection.execute(
        "SELECT rowid, bm25(words) FROM words WHERE words MATCH ? ORDER BY rank LIMIT ?",
        (asked, _CANDIDATES if len(chosen) == len(index.ids) else -1),
    ).fetchall()
    if not found:
        return scores
    places = np.searchsorted(index.ids[chosen], [row[0] for row in found])
    hits = [
        (place, -row[1])
        for place, row in zip(places.tolist(), found, strict=True)
        if place < len(chosen) and index.ids[chosen[place]] == row[0]
    ]
    best = max((score for _, score in hits), default=0.0)
    for place, score in hits:
        scores[place] = score / best if best > 0 else 1.0
    return scores
