"""What crosses Temporal in the ingestion of files into a vector store: ids alone, never text of a file."""

from __future__ import annotations

from open_responses.schema.payload import Payload
from open_responses.schema.vector_store_bodies import IngestionErrorCode

INGESTION_WORKFLOW = "IngestionWorkflow"
INGEST_READ, INGEST_EMBED, INGEST_END = "ingest_read", "ingest_embed", "ingest_end"
"""Its activities."""
STORAGE_AWAY = "storage_away"
"""The type of the error of an activity that could not use the files or their catalog."""


class Ingestion(Payload):
    """The files that one request has attached to a vector store. `ingestion_id` is the workflow's id."""

    ingestion_id: str
    store_id: str
    tenant: str
    file_ids: list[str]


class FileIngestion(Payload):
    """One of the files."""

    ingestion_id: str
    store_id: str
    tenant: str
    file_id: str


class FileIngestionEnd(FileIngestion):
    """How the ingestion of a file ends: with an error, or complete."""

    error_code: IngestionErrorCode | None = None
    error_message: str = ""
