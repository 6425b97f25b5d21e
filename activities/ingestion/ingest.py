"""Reads a file into the chunks of a vector store's index, embeds them, and then lets searches find the file.

Each activity may be repeated at any point. It first asks the catalog whether the ingestion is still wanted, because the
file may have been deleted, removed from the store, or attached anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Mapping

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError

from open_responses.config import Config
from open_responses.io.background import in_background
from open_responses.io.files.engine import Engine, EngineFailed, embedding_of
from open_responses.io.files.folder import FilesFolder
from open_responses.io.files.reading import FileUnreadable, read_chunks
from open_responses.loop.payloads.ingestion import (
    INGEST_EMBED,
    INGEST_END,
    INGEST_READ,
    STORAGE_AWAY,
    FileIngestion,
    FileIngestionEnd,
)

log = structlog.get_logger(__name__)

_HEARTBEAT_SECONDS = 5.0
_CHUNKS_AT_ONCE = 16
_CHARACTERS_AT_ONCE = 30_000
"""Embedded in some seconds, and in one call of a provider."""


class IngestionActivities:
    """The activities of `workflows/ingestion.py`."""

    def __init__(self, folder: FilesFolder, config: Config, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self.config = config
        self._environ = environ
        # Apart from the engine of searches, which do not wait for a batch of chunks.
        self._engine = Engine(niceness=10)
        self._reads = asyncio.Semaphore(1)

    @activity.defn(name=INGEST_READ)
    async def read(self, file: FileIngestion) -> None:
        """Write the file's chunks into the index, without vectors.

        Raises ApplicationError of type `unsupported_file` or `invalid_file` for a file that cannot be read, and of type
        `storage_away` for an outage, which does not count among the attempts to read a file.
        """
        async with _heartbeats(counts_outages=False), self._reads:
            row = await asyncio.to_thread(self._folder.store_files.get, file.store_id, file.file_id)
            stored = await asyncio.to_thread(self._folder.files.get, file.file_id, file.tenant)
            if row is None or stored is None or not await self._is_wanted(file):
                return
            index = self._folder.stores.index(file.store_id)
            if await asyncio.to_thread(index.has_chunks, file.file_id, file.ingestion_id):
                return
            try:
                chunks = await read_chunks(
                    stored.path, stored.filename, row.chunk_tokens, row.overlap_tokens, self.config.vector_stores
                )
            except FileUnreadable as error:
                raise ApplicationError(str(error), type=error.code, non_retryable=True) from error
            await asyncio.to_thread(index.put_chunks, file.file_id, file.ingestion_id, chunks)
            await self._take_back(file)

    @activity.defn(name=INGEST_EMBED)
    async def embed(self, file: FileIngestion) -> None:
        """Make the vectors that are missing. Raises ApplicationError if they cannot be made."""
        async with _heartbeats():
            index = self._folder.stores.index(file.store_id)
            store = await asyncio.to_thread(self._folder.stores.get, file.store_id, file.tenant)
            embedding = embedding_of(self.config, self._environ)
            if store is None or not await self._is_wanted(file):
                return
            if store.embedding != embedding.name:
                raise ApplicationError(
                    f"The vector store was made with the embedding model {store.embedding!r}, and the server now has "
                    f"{embedding.name!r}. Create another store.",
                    type="server_error",
                    non_retryable=True,
                )
            while waiting := await asyncio.to_thread(index.without_vector, file.file_id, _CHUNKS_AT_ONCE):
                while len(waiting) > 1 and sum(len(text) for _, text in waiting) > _CHARACTERS_AT_ONCE:
                    waiting.pop()
                try:
                    vectors = await self._engine.embed([text for _, text in waiting], embedding)
                except EngineFailed as error:
                    raise ApplicationError(
                        f"The text cannot be embedded: {error}.", type="server_error", non_retryable=error.is_final
                    ) from error
                made = [(chunk_id, vector) for (chunk_id, _), vector in zip(waiting, vectors, strict=True)]
                await asyncio.to_thread(index.put_vectors, made)
                progress = await asyncio.to_thread(index.progress, file.file_id)
                activity.heartbeat(progress.done, progress.total)
                is_wanted = await asyncio.to_thread(
                    self._folder.store_files.settle,
                    file.store_id,
                    file.file_id,
                    file.ingestion_id,
                    status="in_progress",
                    usage_bytes=progress.size,
                )
                if not is_wanted:
                    break
            await self._take_back(file)

    @activity.defn(name=INGEST_END)
    async def end(self, file: FileIngestionEnd) -> None:
        """Let searches find the file, or note why they cannot."""
        index = self._folder.stores.index(file.store_id)
        if file.error_code is not None:
            await asyncio.to_thread(self._fail, file)
            await self._take_back(file)
            return
        if not await self._is_wanted(file):
            await self._take_back(file)
            return
        progress = await asyncio.to_thread(index.progress, file.file_id)
        await asyncio.to_thread(
            self._folder.store_files.settle,
            file.store_id,
            file.file_id,
            file.ingestion_id,
            status="completed",
            usage_bytes=progress.size,
        )

    async def close(self) -> None:
        await self._engine.close()

    def _fail(self, file: FileIngestionEnd) -> None:
        assert file.error_code is not None
        log.info("file_not_ingested", file_id=file.file_id, store_id=file.store_id, code=file.error_code)
        self._folder.store_files.settle(
            file.store_id,
            file.file_id,
            file.ingestion_id,
            status="failed",
            error=(file.error_code, file.error_message[:500]),
        )

    async def _is_wanted(self, file: FileIngestion) -> bool:
        return await asyncio.to_thread(
            self._folder.store_files.is_current, file.store_id, file.file_id, file.ingestion_id
        )

    async def _take_back(self, file: FileIngestion) -> None:
        """Remove the chunks of a file or store that was deleted while they were written."""
        if not await self._is_wanted(file):
            await asyncio.to_thread(self._remove_unwanted, file)

    def _remove_unwanted(self, file: FileIngestion) -> None:
        stores = self._folder.stores
        store = stores.get(file.store_id, file.tenant)
        if store is None or store.is_expired:
            stores.indexes.remove(file.store_id)
            return
        row = self._folder.store_files.get(file.store_id, file.file_id)
        # One that was attached anew has another ingestion, which writes its chunks itself.
        if row is None or (row.ingestion_id == file.ingestion_id and row.status in ("failed", "cancelled")):
            stores.index(file.store_id).remove(file.file_id)


@contextlib.asynccontextmanager
async def _heartbeats(*, counts_outages: bool = True) -> AsyncIterator[None]:
    """Heartbeat during the work, so that Temporal notices within seconds that the worker died."""

    async def beat() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(_HEARTBEAT_SECONDS)

    beating = in_background("ingestion heartbeat", beat())
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise ApplicationError(
            f"The files cannot be used: {error}", type=STORAGE_AWAY, non_retryable=not counts_outages
        ) from error
    finally:
        beating.cancel()
