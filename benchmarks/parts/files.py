"""`python -m benchmarks files`: ingestion and search of files, through the servers.

A corpus of PDF, HTML, Markdown and DOCX is made here, PAGES of each type, uploaded and attached to a vector store, one
type after the other. Printed: pages a second, the CPU time of a page and the peak memory, by process. Then one store
gets CHUNKS chunks, and is searched through the API by one client and by several at a time, with and without words and a
filter, and while another file is ingested into it. Those chunks are written into the index beside the server, with
random vectors: to embed them would take half an hour, and the values change nothing about the time.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import os
import random
import statistics
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import docx
import httpx
import numpy as np

from benchmarks.processes import own_cpu_seconds, tree
from benchmarks.stack import running
from open_responses.io.files.chunk_index import ChunkIndex
from open_responses.io.files.storage import Chunk
from tests.support.documents import pdf_of
from tests.support.stack import Stack, http_client

_WORDS_PER_PAGE = 400
_PAGES_PER_FILE = 20
_PAGE_OF_CHUNK = 200
_FILES, _MADE_AT_ONCE = 20, 500
_DIMENSIONS = 384
_SEARCHES = 60
_AT_ONCE = (1, 4, 16)
_WORKER = "worker-0"
# Of a language: the model cuts what it does not know into several pieces, and takes as much longer.
_TEXT = (
    "the tenant pays rent on first working day of each month and landlord keeps house in good order while water light "
    "are shared by all who live after long winter came early spring with rain over green hills where people walk to "
    "market where they sell bread fish cloth tools and old books about rivers mountains ships engines numbers music"
)
_WORDS = _TEXT.split()
_PROCESSES = {"open_responses.io.files.engine_process": "engine", "open_responses.io.files.parse_process": "reader"}
_HYBRID: Mapping[str, Any] = {}
_MEANING: Mapping[str, Any] = {"ranking_options": {"ranker": "none"}}
_HALF: Mapping[str, Any] = {"filters": {"type": "eq", "key": "half", "value": True}}


async def main() -> None:
    pages, chunks = int(os.environ.get("PAGES", "40")), int(os.environ.get("CHUNKS", "10000"))
    async with running(workers=(_WORKER,)) as (stack, _), http_client(stack.api_url, 600) as client:
        if pages:
            await _ingestion(client, stack, pages)
        if chunks:
            await _searches(client, stack, chunks)


# --- ingestion


async def _ingestion(client: httpx.AsyncClient, stack: Stack, pages: int) -> None:
    async with _watched(stack) as seen:
        # The processes that embed load their model with the first file.
        await _attach(client, await _store(client), [await _upload(client, "warm.md", b"Warm.")])
        print(f"\ningestion of {pages} pages of {_WORDS_PER_PAGE} words, in files of {_PAGES_PER_FILE}, by one worker")
        for kind, make in _MAKERS.items():
            files = [
                await _upload(client, f"{number}.{kind}", make(_text(number, count)))
                for number, count in enumerate(_counts(pages))
            ]
            store = await _store(client)
            before, began = seen.cpu(), time.perf_counter()
            await _attach(client, store, files)
            took = time.perf_counter() - began
            used = {name: (after - before.get(name, 0)) / pages * 1000 for name, after in seen.cpu().items()}
            costs = ", ".join(f"{name} {spent:.0f} ms" for name, spent in sorted(used.items()) if spent >= 1)
            print(f"  {kind:<5} {pages / took:5.1f} pages/s; CPU of a page: {costs}")
        print("  peak memory: " + ", ".join(f"{name} {size:.0f} MB" for name, size in sorted(seen.peaks.items())))


def _counts(pages: int) -> list[int]:
    """The pages of each file."""
    whole, rest = divmod(pages, _PAGES_PER_FILE)
    return [_PAGES_PER_FILE] * whole + ([rest] if rest else [])


def _text(number: int, pages: int) -> list[str]:
    """So many pages, the same in each run and different in each file."""
    chosen = random.Random(number)
    return [
        ". ".join(" ".join(chosen.choices(_WORDS, k=20)).capitalize() for _ in range(_WORDS_PER_PAGE // 20))
        for _ in range(pages)
    ]


def _html(pages: Sequence[str]) -> bytes:
    sections = "".join(
        f"<section><h2>Part {number}</h2><p>{page}</p><ul><li>One <b>more</b> line</li></ul></section>"
        for number, page in enumerate(pages)
    )
    style, script = "<style>p { color: black }</style>", "<script>console.log('unread')</script>"
    return (
        f"<!doctype html><html><head><title>A page</title>{style}</head><body>{script}{sections}</body></html>".encode()
    )


def _markdown(pages: Sequence[str]) -> bytes:
    return "\n\n".join(f"## Part {number}\n\n{page}" for number, page in enumerate(pages)).encode()


def _docx(pages: Sequence[str]) -> bytes:
    document, written = docx.Document(), io.BytesIO()
    for page in pages:
        document.add_heading("A part", level=2)
        document.add_paragraph(page)
    document.save(written)
    return written.getvalue()


_MAKERS = {"pdf": lambda pages: pdf_of(*pages), "html": _html, "md": _markdown, "docx": _docx}


# --- search


async def _searches(client: httpx.AsyncClient, stack: Stack, chunks: int) -> None:
    store = await _store(client)
    files = [await _upload(client, f"{number}.md", f"File {number}.".encode()) for number in range(_FILES)]
    await _attach(client, store, files)
    for number, file in enumerate(files):
        path = f"/v1/vector_stores/{store}/files/{file}"
        (await client.post(path, json={"attributes": {"half": number % 2 == 0}})).raise_for_status()
    index = ChunkIndex(stack.data / "files" / "indexes" / f"{store}.sqlite")
    await asyncio.to_thread(_fill, index, files, chunks)
    async with _watched(stack) as seen:
        first = (await _timed(client, store, 1, 1, _HYBRID))[0]
        print(f"\nsearch in {chunks} chunks through the API; the first, which loads model and index: {first:.0f} ms")
        for name, settings in (("words and meaning", _HYBRID), ("meaning alone", _MEANING), ("half the files", _HALF)):
            before = sum(seen.cpu().values())
            times = await _timed(client, store, 1, _SEARCHES, settings)
            cpu = (sum(seen.cpu().values()) - before) / _SEARCHES * 1000
            print(f"  {name:<18} {_quantiles(times)}; CPU {cpu:.0f} ms")
        for at_once in _AT_ONCE[1:]:
            began = time.perf_counter()
            times = await _timed(client, store, at_once, 2 * _SEARCHES, _HYBRID)
            rate = 2 * _SEARCHES / (time.perf_counter() - began)
            print(f"  {at_once:>2} at a time       {_quantiles(times)}; {rate:.0f} searches/s")
        growing = await _upload(client, "growing.md", _markdown(_text(1, 400)))
        attach = asyncio.create_task(_attach(client, store, [growing]))
        times = await _timed(client, store, 1, _SEARCHES, _HYBRID)
        state = "goes on" if not attach.done() else "has ended"
        print(f"  during an ingestion {_quantiles(times)} (which {state})")
        attach.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await attach
        print("  peak memory: " + ", ".join(f"{name} {size:.0f} MB" for name, size in sorted(seen.peaks.items())))


def _fill(index: ChunkIndex, files: Sequence[str], chunks: int) -> None:
    made = np.random.default_rng(1)
    share = -(-chunks // len(files))
    for number, file in enumerate(files):
        texts = [
            f"The name{(number * share + at) % 977} of the group{at % 31} is {at}. {page}"
            for at, page in zip(range(share), itertools.cycle(_text(number, _PAGE_OF_CHUNK // 4)), strict=False)
        ]
        index.put_chunks(file, "of the benchmark", [Chunk(text[:1600], 0) for text in texts])
        while waiting := index.without_vector(file, _MADE_AT_ONCE):
            rows = made.standard_normal((len(waiting), _DIMENSIONS)).astype(np.float32)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            index.put_vectors([(chunk_id, row.tobytes()) for (chunk_id, _), row in zip(waiting, rows, strict=True)])


async def _timed(
    client: httpx.AsyncClient, store: str, at_once: int, searches: int, settings: Mapping[str, Any]
) -> list[float]:
    """Milliseconds of each search, so many at a time."""
    times: list[float] = []

    async def some(numbers: Iterator[int]) -> None:
        for number in numbers:
            query = f"what is the number of name{number} in the group{number % 31}, by the river?"
            began = time.perf_counter()
            answer = await client.post(f"/v1/vector_stores/{store}/search", json={"query": query, **settings})
            times.append((time.perf_counter() - began) * 1000)
            assert answer.status_code == 200, answer.text
            assert answer.json()["data"], "something is found"

    numbers = iter(range(searches))
    await asyncio.gather(*(some(numbers) for _ in range(at_once)))
    return times


def _quantiles(times: Sequence[float]) -> str:
    cuts = statistics.quantiles(times, n=20)
    return f"p50 {statistics.median(times):4.0f} ms, p95 {cuts[18]:4.0f} ms"


# --- the API


async def _store(client: httpx.AsyncClient) -> str:
    answer = await client.post("/v1/vector_stores")
    answer.raise_for_status()
    found: str = answer.json()["id"]
    return found


async def _upload(client: httpx.AsyncClient, name: str, data: bytes) -> str:
    form: Any = {"data": {"purpose": "assistants"}, "files": {"file": (name, data)}}
    answer = await client.post("/v1/files", **form)
    answer.raise_for_status()
    found: str = answer.json()["id"]
    return found


async def _attach(client: httpx.AsyncClient, store: str, files: Sequence[str]) -> None:
    """Attach files as one batch, and wait for its end."""
    url = f"/v1/vector_stores/{store}/file_batches"
    batch = (await client.post(url, json={"file_ids": list(files)})).raise_for_status().json()
    while batch["status"] == "in_progress":
        await asyncio.sleep(0.25)
        batch = (await client.get(f"{url}/{batch['id']}")).json()
    assert batch["file_counts"]["completed"] == len(files), batch


# --- processes


class _Seen:
    """Memory and CPU time of the API, the worker and their processes, as they were seen."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.peaks: dict[str, float] = {}
        self._spent: dict[int, tuple[str, float]] = {}

    def look(self) -> None:
        """Note how it is now. A process that begins and ends between two looks is not seen."""
        for owner in ("api", _WORKER):
            root = self._stack.processes[owner].pid
            for pid in tree(root):
                name = "worker" if owner == _WORKER else owner
                kind = "" if pid == root else _kind(pid)
                if kind is None:
                    continue
                name = f"{name}'s {kind}" if kind else name
                self.peaks[name] = max(self.peaks.get(name, 0.0), _peak_megabytes(pid))
                self._spent[pid] = (name, max(own_cpu_seconds(pid), self._spent.get(pid, ("", 0.0))[1]))

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far, by name."""
        self.look()
        found: dict[str, float] = {}
        for name, seconds in self._spent.values():
            found[name] = found.get(name, 0.0) + seconds
        return found


@asynccontextmanager
async def _watched(stack: Stack) -> AsyncIterator[_Seen]:
    seen = _Seen(stack)

    async def watch() -> None:
        while True:
            await asyncio.to_thread(seen.look)
            await asyncio.sleep(0.1)

    watching = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        watching.cancel()


def _kind(pid: int) -> str | None:
    """What a child process is; None for one that is of no interest or gone."""
    with contextlib.suppress(OSError):
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        return next((kind for module, kind in _PROCESSES.items() if module in command), None)
    return None


def _peak_megabytes(pid: int) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0
