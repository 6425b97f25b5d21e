"""Finds the chunks of one store that are nearest to queries, by the meaning of a text and by its words.

A score is made as in SQLite (`open_responses/io/files/vector_search.py`): the weighted mean of the cosine between the
vectors, and of the words' relevance in relation to the best match. The relevance of a word is its rarity in the store
(IDF, as in BM25) times PostgreSQL's `ts_rank`, which saturates with the number of its occurrences and falls with the
length of the chunk.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import psycopg

from open_responses.io.files.postgres.connections import Database, DatabaseConnection
from open_responses.io.files.postgres.large_stores import column_of, has_vector_index
from open_responses.io.files.storage import StorageAway, Weights

_MOST_WORDS = 64
_COMMON_CHUNKS, _COMMON_SHARE, _MOST_MATCHES = 100, 0.1, 5000
"""A word that more chunks have, by number and by share of all, does not count. Nor one that very many have: each match
costs some microseconds."""
_NOTHING = "'\x01'"
_NEAREST, _MATCHES = 200, 200
"""Of a large store: the chunks that its index finds, and those with the best words, which are compared exactly."""


class VectorsDiffer(Exception):
    """The store has vectors of another length than the query."""


def search_store(
    database: Database,
    store_id: str,
    file_ids: Sequence[str],
    queries: Sequence[tuple[str, str]],
    weights: Weights,
    most: int,
) -> list[tuple[str, float, str]]:
    """(file id, score, text) of the best chunks of some files of a store, best first.

    `queries` are texts with their vectors, as pgvector reads them. A chunk has the best of its scores for all of them.
    Raises StorageAway and VectorsDiffer.
    """
    best: dict[int, tuple[str, float, str]] = {}
    try:
        with database.transaction() as connection:
            is_large = has_vector_index(connection, store_id)
            if is_large:
                _look_far(connection, database.vector_version)
            files = list(file_ids)
            for text, vector in queries:
                words = _telling(connection, store_id, text) if weights.text else {}
                nearest = _nearest(connection, store_id, files, vector, most) if is_large else None
                for row in _rows(connection, store_id, files, vector, words, weights, most, nearest):
                    old = best.get(row[0])
                    if old is None or old[1] < row[2]:
                        best[row[0]] = (row[1], row[2], row[3])
    except StorageAway as error:
        if isinstance(error.__cause__, psycopg.errors.DataException):
            raise VectorsDiffer from error
        raise
    return sorted(best.values(), key=lambda found: -found[1])[:most]


def store_lexeme(store_id: str) -> str:
    """What the words of each chunk of a store have among them. No word of a text begins so."""
    return f"\x01{store_id}"


def _rows(
    connection: DatabaseConnection,
    store_id: str,
    file_ids: list[str],
    vector: str,
    words: dict[str, float],
    weights: Weights,
    most: int,
    nearest: list[int] | None,
) -> list[tuple[int, str, float, str]]:
    """(chunk's id, file id, score, text) of the best chunks for one query. `nearest` if only some are compared."""
    total = weights.embedding + weights.text
    ranks = " + ".join("?::float8 * ts_rank(words, ?::tsquery, 1)" for _ in words) or "0"
    any_word = " | ".join(_quoted(word) for word in words)
    values: list[object] = [part for word, rarity in words.items() for part in (rarity, _quoted(word))]
    values += [f"{_quoted(store_lexeme(store_id))} & ({any_word})" if words else _NOTHING, file_ids]
    values += [weights.embedding / total, vector, weights.text / total, store_id, file_ids]
    some = ""
    if nearest is not None:
        values.append(nearest)
        some = (
            "AND c.id IN (SELECT unnest(?::bigint[]) "
            f"UNION (SELECT id FROM matched ORDER BY rank DESC LIMIT {_MATCHES})) "
        )
    statement = (
        "WITH matched AS MATERIALIZED ("
        f"SELECT id, {ranks} AS rank FROM chunks WHERE words @@ ?::tsquery AND file_id = ANY(?)), "
        "best AS (SELECT nullif(max(rank), 0) AS rank FROM matched), "
        "scored AS (SELECT c.id, ?::float8 * least(1, greatest(0, -(c.vector <#> ?::vector))) "
        "+ ?::float8 * coalesce(matched.rank / best.rank, 0) AS score "
        "FROM chunks AS c CROSS JOIN best LEFT JOIN matched ON matched.id = c.id "
        f"WHERE c.store_id = ? AND c.file_id = ANY(?) AND c.vector IS NOT NULL {some}"
        "ORDER BY score DESC, c.id LIMIT ?) "
        "SELECT id, file_id, score, text FROM scored JOIN chunks USING (id) ORDER BY score DESC, id"
    )
    found = connection.execute(statement, [*values, most])
    return [(row["id"], row["file_id"], row["score"], row["text"]) for row in found]


def _nearest(connection: DatabaseConnection, store_id: str, file_ids: list[str], vector: str, most: int) -> list[int]:
    """The chunks that the store's index finds."""
    column = column_of(vector.count(",") + 1)
    kind = column.partition("::")[2]
    # The store is in the text of the statement, because the index is one over the chunks of this store alone.
    found = connection.execute(
        f"SELECT id FROM chunks WHERE store_id = '{store_id}' AND file_id = ANY(?) "
        f"ORDER BY ({column}) <#> ?::{kind} LIMIT {max(_NEAREST, most)}",
        (file_ids, vector),
    )
    return [row["id"] for row in found]


def _telling(connection: DatabaseConnection, store_id: str, query: str) -> dict[str, float]:
    """The words that few chunks have, and how rare each is.

    A word that half of the chunks have does not tell them apart. If all words are so, the rarest of them counts.
    """
    total = connection.execute(
        "SELECT CAST(coalesce(sum(chunks), 0) AS BIGINT) FROM parsed WHERE store_id = ?", (store_id,)
    ).fetchone()[0]
    few = int(max(_COMMON_CHUNKS, min(total * _COMMON_SHARE, _MOST_MATCHES)))
    own = _quoted(store_lexeme(store_id))
    lexemes = [
        row[0]
        for row in connection.execute(
            "SELECT lexeme FROM unnest(to_tsvector('pg_catalog.english', ?)) LIMIT ?", (query, _MOST_WORDS)
        )
    ]
    counts = {
        lexeme: connection.execute(
            "SELECT count(*) FROM (SELECT 1 FROM chunks WHERE words @@ ?::tsquery LIMIT ?) AS found",
            (f"{own} & {_quoted(lexeme)}", few + 1),
        ).fetchone()[0]
        for lexeme in lexemes
    }
    found = sorted((lexeme for lexeme in lexemes if counts[lexeme]), key=lambda lexeme: counts[lexeme])
    kept = [lexeme for lexeme in found if counts[lexeme] <= few] or found[:1]
    return {word: math.log(1 + (max(total, counts[word]) - counts[word] + 0.5) / (counts[word] + 0.5)) for word in kept}


def _look_far(connection: DatabaseConnection, version: tuple[int, ...]) -> None:
    """Have the index find as many chunks as are compared, and go on where a filter has left out some."""
    connection.execute(f"SET LOCAL hnsw.ef_search = {_NEAREST}")
    if version >= (0, 8):
        connection.execute("SET LOCAL hnsw.iterative_scan = strict_order")


def _quoted(lexeme: str) -> str:
    """A lexeme in a `tsquery`, in which nothing of it is an operator."""
    escaped = lexeme.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
