"""Starts the workflows that ingest files, and starts those again that no longer run.

A file is `in_progress` in the catalog before its workflow starts. If the API dies in between, or an operator ends the
workflow, a worker starts it again: the workflow's id is that of the ingestion, so there is one at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from temporalio.client import Client
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)

from open_responses.io.files.folder import FilesFolder
from open_responses.io.temporal import client as temporal_client
from open_responses.loop.markdown import plain
from open_responses.loop.payloads.ingestion import INGESTION_WORKFLOW, Ingestion
from open_responses.loop.payloads.names import TASK_QUEUE

_FORGOTTEN_SECONDS = 120
"""Of an ingestion that has not ended, after which a worker makes sure that it runs."""


async def start_ingestion(
    temporal: Client, tenant: str, store_id: str, ingestion_id: str, file_ids: Sequence[str]
) -> None:
    """Start the workflow, unless it runs. Raises RPCError and TemporalDown."""
    await temporal.start_workflow(
        INGESTION_WORKFLOW,
        Ingestion(ingestion_id=ingestion_id, store_id=store_id, tenant=tenant, file_ids=list(file_ids)),
        id=ingestion_id,
        task_queue=TASK_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        search_attributes=TypedSearchAttributes([SearchAttributePair(temporal_client.TENANT, tenant)]),
        static_summary=f"ingestion · {plain(tenant)}",
        task_timeout=temporal_client.WORKFLOW_TASK_TIMEOUT,
    )


async def restart_forgotten(folder: FilesFolder, temporal: Client) -> None:
    """Start the workflows of ingestions that have not ended and may not run."""
    unfinished = await asyncio.to_thread(folder.store_files.unfinished, int(time.time()) - _FORGOTTEN_SECONDS)
    for (store_id, ingestion_id, tenant), file_ids in unfinished.items():
        await start_ingestion(temporal, tenant, store_id, ingestion_id, file_ids)
