"""Ingestion and search of files: pages a second, memory, and milliseconds a search. `PAGES=100 CHUNKS=10000`."""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from open_responses.config import Config
from open_responses.config_tables.vector_stores import VectorStoresConfig
from open_responses.io.files.chunk_index import Chunk, ChunkIndex
from open_responses.io.files.engine import Embedding, Engine, embedding_of
from open_responses.io.files.reading import read_chunks
from tests.support.documents import pdf_of

_WORDS_PER_PAGE = 400
# Of a language: the model cuts what it does not know into several pieces, and takes as much longer.
_WORDS = (
    *("the", "tenant", "pays", "rent", "on", "first", "working", "day", "of", "each", "month", "and", "landlord"),
    *("keeps", "house", "in", "good", "order", "while", "water", "light", "are", "shared", "by", "all", "who", "live"),
    *(
        "after",
        "long",
        "winter",
        "came",
        "early",
        "spring",
        "with",
        "rain",
        "over",
        "green",
        "hills",
        "where",
        "people",
    ),
)
_SEARCHES = 40
_MADE_AT_ONCE = 500
_DIMENSIONS = 384


async def main() -> None:
    pages, chunks = int(os.environ.get("PAGES", "100")), int(os.environ.get("CHUNKS", "10000"))
    engine, embedding = Engine(), embedding_of(Config(), {})
    with tempfile.TemporaryDirectory() as folder:
        await _ingest(Path(folder), pages, engine, embedding)
        await _search(Path(folder), chunks, engine, embedding)
    await engine.close()
    # Of the largest child, which is the engine or a reader.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"memory of the largest process that reads, embeds or searches: {peak // 1024} MB")


async def _ingest(folder: Path, pages: int, engine: Engine, embedding: Embedding) -> None:
    words = [_WORDS[number * number % len(_WORDS)] for number in range(_WORDS_PER_PAGE)]
    path = folder / "a.pdf"
    path.write_bytes(pdf_of(*(f"Page {number}. {' '.join(words)}." for number in range(pages))))
    limits = VectorStoresConfig()
    await engine.embed(["warm"], embedding)
    began = time.perf_counter()
    chunks = await read_chunks(path, "a.pdf", limits.chunk_tokens, limits.chunk_overlap_tokens, limits)
    read, cpu = time.perf_counter(), _cpu_seconds(engine)
    index = ChunkIndex(folder / "ingested.sqlite")
    index.put_chunks("f", "i", chunks)
    while waiting := index.without_vector("f", 16):
        vectors = await engine.embed([text for _, text in waiting], embedding)
        index.put_vectors([(chunk_id, vector) for (chunk_id, _), vector in zip(waiting, vectors, strict=True)])
    ended = time.perf_counter()
    print(
        f"ingestion of a PDF of {pages} pages with {_WORDS_PER_PAGE} words: {len(chunks)} chunks, "
        f"{pages / (read - began):.0f} pages/s read, {pages / (ended - read):.1f} pages/s embedded inside, "
        f"{(_cpu_seconds(engine) - cpu) / pages * 1000:.0f} ms of CPU a page"
    )


async def _search(folder: Path, chunks: int, engine: Engine, embedding: Embedding) -> None:
    """The vectors are random: their values change nothing about the time."""
    path, random = folder / "searched.sqlite", np.random.default_rng(1)
    index = ChunkIndex(path)
    for at in range(0, chunks, _MADE_AT_ONCE):
        texts = [
            f"the name{(at + n) % 977} of the group{(at + n) % 31} is {at + n}. " * 30 for n in range(_MADE_AT_ONCE)
        ]
        file_id = f"f{at}"
        index.put_chunks(file_id, "i", [Chunk(text, 0) for text in texts])
        rows = random.standard_normal((_MADE_AT_ONCE, _DIMENSIONS)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        waiting = index.without_vector(file_id, _MADE_AT_ONCE)
        index.put_vectors([(chunk_id, row.tobytes()) for (chunk_id, _), row in zip(waiting, rows, strict=True)])
    files = [f"f{at}" for at in range(0, chunks, _MADE_AT_ONCE)]
    for name, asked in (("all files", files), ("a filter that lets half through", files[::2])):
        times, cpu = [], _cpu_seconds(engine)
        for number in range(_SEARCHES):
            began = time.perf_counter()
            await engine.search(
                [(path, asked)],
                [f"what is the number of name{number} in the group{number % 31}?"],
                embedding,
                embedding_weight=0.7,
                text_weight=0.3,
                most=10,
            )
            times.append((time.perf_counter() - began) * 1000)
        first, *rest = times
        print(
            f"search in {chunks} chunks, {name}: median {statistics.median(rest):.1f} ms, "
            f"worst {max(rest):.1f} ms, the first {first:.0f} ms; "
            f"{(_cpu_seconds(engine) - cpu) / _SEARCHES * 1000:.1f} ms of CPU each"
        )


def _cpu_seconds(engine: Engine) -> float:
    """Of the engine's process, where there is /proc: on a busy machine the time by the clock says little."""
    process, stat = engine._process, Path(f"/proc/{engine._process.pid if engine._process else 0}/stat")
    if process is None or not stat.exists():
        return 0.0
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    asyncio.run(main())
