"""The workflow that ingests files into a vector store: each is read, cut into chunks, embedded, and then found.

The chunks and vectors are in the store's index, so an activity that is repeated goes on where the one before it was cut
off, and history has ids alone.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from open_responses.loop.payloads.ingestion import (
        INGEST_EMBED,
        INGEST_END,
        INGEST_READ,
        INGESTION_WORKFLOW,
        STORAGE_AWAY,
        FileIngestion,
        FileIngestionEnd,
        Ingestion,
    )
    from open_responses.schema.vector_store_bodies import IngestionErrorCode

_AT_ONCE = 2
"""Files of one request. A large batch must not take all workers from other tenants' files."""

# The worker that reads or embeds reports every few seconds that it lives.
_SILENCE = timedelta(seconds=20)
_LONGEST_READ = timedelta(minutes=30)
_LONGEST_EMBEDDING = timedelta(hours=24)
_RETRIES = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1))
_READ_ATTEMPTS = 5
_OUTAGE_PAUSE, _LONGEST_OUTAGE = timedelta(seconds=10), timedelta(hours=24)
"""Of the files or their catalog. The attempts are for a file that ends its readers, so an outage uses up none."""
_CODES: dict[str, IngestionErrorCode] = {"unsupported_file": "unsupported_file", "invalid_file": "invalid_file"}


@workflow.defn(name=INGESTION_WORKFLOW)
class IngestionWorkflow:
    """Ends when each file is `completed`, `failed` or not wanted any more."""

    def __init__(self) -> None:
        self._done = 0

    @workflow.run
    async def run(self, asked: Ingestion) -> None:
        """Ingest the files, some at a time."""
        self._show(asked)
        turns = asyncio.Semaphore(_AT_ONCE)

        async def one(file_id: str) -> None:
            async with turns:
                await self._ingest(
                    FileIngestion(
                        ingestion_id=asked.ingestion_id, store_id=asked.store_id, tenant=asked.tenant, file_id=file_id
                    )
                )
            self._done += 1
            self._show(asked)

        await asyncio.gather(*(one(file_id) for file_id in asked.file_ids))

    async def _ingest(self, file: FileIngestion) -> None:
        try:
            await self._read(file)
            await workflow.execute_activity(
                INGEST_EMBED,
                file,
                summary=f"embed {file.file_id}",
                start_to_close_timeout=_LONGEST_EMBEDDING,
                schedule_to_close_timeout=_LONGEST_EMBEDDING,
                heartbeat_timeout=_SILENCE,
                retry_policy=_RETRIES,
            )
            end = FileIngestionEnd(**file.model_dump())
        except ActivityError as error:
            cause = error.cause
            kind = cause.type or "" if isinstance(cause, ApplicationError) else ""
            message = cause.message if isinstance(cause, ApplicationError) else "The workers that read it died."
            end = FileIngestionEnd(
                **file.model_dump(), error_code=_CODES.get(kind, "server_error"), error_message=message
            )
        await workflow.execute_activity(
            INGEST_END,
            end,
            summary=f"end {file.file_id}",
            start_to_close_timeout=timedelta(minutes=1),
            retry_policy=_RETRIES,
        )

    async def _read(self, file: FileIngestion) -> None:
        began = workflow.now()
        while True:
            try:
                await workflow.execute_activity(
                    INGEST_READ,
                    file,
                    summary=f"read {file.file_id}",
                    start_to_close_timeout=_LONGEST_READ,
                    heartbeat_timeout=_SILENCE,
                    retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=_READ_ATTEMPTS),
                )
                return
            except ActivityError as error:
                is_outage = isinstance(error.cause, ApplicationError) and error.cause.type == STORAGE_AWAY
                if not is_outage or workflow.now() - began > _LONGEST_OUTAGE:
                    raise
            await workflow.sleep(_OUTAGE_PAUSE)

    def _show(self, asked: Ingestion) -> None:
        """Set the details that the Temporal UI shows to an operator."""
        workflow.set_current_details(
            f"**{self._done} of {len(asked.file_ids)} files**\n\n- vector store: `{asked.store_id}`"
        )
