"""The index of a vector store, its search, and what a removal leaves of a file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from open_responses.io.files.chunk_index import ChunkIndex
from open_responses.io.files.storage import Chunk, Weights
from open_responses.io.files.vector_search import VectorSearch

BOTH = Weights(0.5, 0.5)


def vector(*values: float) -> bytes:
    return np.array(values, np.float32).tobytes()


def filled(path: Path, file_id: str, *texts: str, at: float = 1.0) -> ChunkIndex:
    index = ChunkIndex(path)
    index.put_chunks(file_id, "ingestion", [Chunk(text, 0) for text in texts])
    waiting = index.without_vector(file_id, 100)
    index.put_vectors([(chunk_id, vector(at, number, 0)) for number, (chunk_id, _) in enumerate(waiting)])
    return index


def found(search: VectorSearch, path: Path, query: str, *files: str, weights: Weights = BOTH) -> list[str]:
    rows = np.array([[1, 0, 0]], np.float32)
    return [text for _, _, text in search.search(str(path), files, [query], rows, weights, 10)]


def test_words_and_meaning_are_both_found_and_only_in_the_files_that_are_asked_for(tmp_path: Path) -> None:
    path, search = tmp_path / "a.sqlite", VectorSearch()
    filled(path, "near", "about cats")
    filled(path, "far", "the serial number X-4711", at=0.0)
    assert found(search, path, "kittens", "near", "far", weights=Weights(1, 0)) == [
        "about cats",
        "the serial number X-4711",
    ]
    assert found(search, path, "X-4711", "near", "far", weights=Weights(0, 1))[0] == "the serial number X-4711"
    assert found(search, path, "X-4711", "near") == ["about cats"]
    assert found(search, path, "X-4711") == []
    assert found(search, path, '" OR NEAR( * ^', "near") == ["about cats"], "a query has no operators"


def test_a_word_that_is_common_counts_only_where_no_rarer_one_is_asked_for(tmp_path: Path) -> None:
    path, search, words = tmp_path / "a.sqlite", VectorSearch(), Weights(0, 1)
    index = ChunkIndex(path)
    texts = [f"the {'lake' if number % 3 == 0 else 'river'} {number}" for number in range(300)]
    index.put_chunks("f", "ingestion", [Chunk(text, 0) for text in [*texts, "the swan"]])
    index.put_vectors([(chunk_id, vector(0, 1, 0)) for chunk_id, _ in index.without_vector("f", 400)])

    def scored(query: str) -> set[str]:
        rows = np.array([[1, 0, 0]], np.float32)
        return {text for _, score, text in search.search(str(path), ["f"], [query], rows, words, 400) if score > 0}

    assert scored("the river swan") == {"the swan"}
    # 100 chunks have it, which is not yet common.
    assert scored("the lake") == {text for text in texts if "lake" in text}
    # All are common, so the rarest of them counts.
    assert scored("the river") == {text for text in texts if "river" in text}


def test_a_search_sees_what_another_process_has_changed(tmp_path: Path) -> None:
    path, search = tmp_path / "a.sqlite", VectorSearch()
    filled(path, "f", "old")
    assert found(search, path, "x", "f", "g") == ["old"]
    filled(path, "g", "new")
    assert sorted(found(search, path, "x", "f", "g")) == ["new", "old"]
    ChunkIndex(path).remove("f")
    assert found(search, path, "x", "f", "g") == ["new"]
    path.unlink()
    assert found(search, path, "x", "f", "g") == []


def test_a_removed_file_leaves_no_word_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    index = filled(path, "f", "the password is swordfish", "and more")
    filled(path, "g", "something else")
    assert b"swordfish" in path.read_bytes()
    index.remove("f")
    assert b"swordfish" not in path.read_bytes()
    assert b"something else" in path.read_bytes()
    assert index.progress("f").total == 0


def test_vectors_of_another_model_are_an_error_and_no_nonsense(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    filled(path, "f", "text")
    with pytest.raises(ValueError, match="another model"):
        VectorSearch().search(str(path), ["f"], ["x"], np.ones((1, 2), np.float32), BOTH, 10)


def test_a_search_keeps_few_indexes_open_and_none_that_was_deleted(tmp_path: Path) -> None:
    search = VectorSearch()
    paths = [tmp_path / f"{number}.sqlite" for number in range(70)]
    for path in paths:
        filled(path, "f", "text")
        assert found(search, path, "x", "f") == ["text"]

    def still_open() -> list[str]:
        links = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        return [link for link in links if str(tmp_path) in link]

    assert len(still_open()) <= 64
    for path in paths[:-1]:
        path.unlink()
    found(search, paths[-1], "x", "f")
    assert still_open() == [str(paths[-1])], "the text of a deleted store is on disk while a process has its index open"
