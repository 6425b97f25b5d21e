"""Removes expired files and stores, what crashes have left, and starts forgotten ingestions. Once a minute."""

from __future__ import annotations

import asyncio
import sqlite3

import structlog
from temporalio.client import Client
from temporalio.service import RPCError

from open_responses.io.files.folder import FilesFolder
from open_responses.io.files.ingestion_starts import restart_forgotten

log = structlog.get_logger(__name__)

_PAUSE_SECONDS = 60.0


async def sweep_files(folder: FilesFolder, temporal: Client) -> None:
    """Sweep until cancelled. A folder that cannot be read is logged, and read again."""
    while True:
        try:
            removed = await asyncio.to_thread(folder.files.sweep) + await asyncio.to_thread(folder.stores.sweep)
            await restart_forgotten(folder, temporal)
        except (OSError, sqlite3.Error, RPCError) as error:
            log.warning("files_not_swept", reason=str(error))
        else:
            if removed:
                log.info("files_swept", removed=removed)
        await asyncio.sleep(_PAUSE_SECONDS)


async def tend_indexes(folder: FilesFolder) -> None:
    """Tend the indexes of vector stores until cancelled. Not within the sweep: to build a large one takes hours."""
    while True:
        try:
            await asyncio.to_thread(folder.stores.indexes.tend)
        except (OSError, sqlite3.Error) as error:
            log.warning("indexes_not_tended", reason=str(error))
        await asyncio.sleep(_PAUSE_SECONDS)
