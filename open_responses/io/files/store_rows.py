"""Vector stores and their files as the catalog has them, and as a client receives them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal, cast

from open_responses.io.files.storage import Row
from open_responses.json_types import JsonObject
from open_responses.schema.vector_store_bodies import (
    FileCounts,
    IngestionErrorCode,
    IngestionStatus,
    VectorStore,
    VectorStoreFile,
    VectorStoreFileBatch,
)

DAY_SECONDS = 86_400
STATUSES: tuple[IngestionStatus, ...] = ("in_progress", "completed", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class StoreRow:
    """A vector store. Times are Unix seconds. `embedding` names the model of all its vectors."""

    id: str
    tenant: str
    name: str
    description: str | None
    metadata: dict[str, str]
    created_at: int
    last_active_at: int
    expires_days: int | None
    embedding: str
    is_expired: bool

    @property
    def expires_at(self) -> int | None:
        """The time at which it expires if it is not used again."""
        return None if self.expires_days is None else self.last_active_at + self.expires_days * DAY_SECONDS

    def resource(self, counts: FileCounts, usage_bytes: int) -> VectorStore:
        """The store as a client receives it."""
        status: Literal["expired", "in_progress", "completed"] = "completed"
        if self.is_expired:
            status = "expired"
        elif counts["in_progress"]:
            status = "in_progress"
        days = self.expires_days
        return {
            "id": self.id,
            "object": "vector_store",
            "created_at": self.created_at,
            "name": self.name,
            "description": self.description,
            "usage_bytes": usage_bytes,
            "file_counts": counts,
            "status": status,
            "expires_after": None if days is None else {"anchor": "last_active_at", "days": days},
            "expires_at": self.expires_at,
            "last_active_at": self.last_active_at,
            "metadata": self.metadata,
        }


@dataclass(frozen=True, slots=True)
class StoreFileRow:
    """A file in a vector store. `ingestion_id` changes when the file is attached anew."""

    store_id: str
    file_id: str
    batch_id: str | None
    ingestion_id: str
    created_at: int
    status: IngestionStatus
    attributes: JsonObject
    chunk_tokens: int
    overlap_tokens: int
    usage_bytes: int
    error_code: IngestionErrorCode | None
    error_message: str | None

    def resource(self) -> VectorStoreFile:
        """The file as a client receives it."""
        failed = self.error_code is not None
        return {
            "id": self.file_id,
            "object": "vector_store.file",
            "created_at": self.created_at,
            "vector_store_id": self.store_id,
            "usage_bytes": self.usage_bytes,
            "status": self.status,
            "last_error": {"code": self.error_code, "message": self.error_message or ""} if failed else None,  # type: ignore[typeddict-item]
            "attributes": self.attributes,
            "chunking_strategy": {
                "type": "static",
                "static": {
                    "max_chunk_size_tokens": self.chunk_tokens,
                    "chunk_overlap_tokens": self.overlap_tokens,
                },
            },
        }


@dataclass(frozen=True, slots=True)
class BatchRow:
    """Files that one request attached."""

    id: str
    store_id: str
    created_at: int
    is_cancelled: bool

    def resource(self, counts: FileCounts) -> VectorStoreFileBatch:
        """The batch as a client receives it. It has failed only if every one of its files has."""
        status: IngestionStatus = "completed"
        if self.is_cancelled:
            status = "cancelled"
        elif counts["in_progress"]:
            status = "in_progress"
        elif counts["total"] and counts["failed"] == counts["total"]:
            status = "failed"
        return {
            "id": self.id,
            "object": "vector_store.files_batch",
            "created_at": self.created_at,
            "vector_store_id": self.store_id,
            "status": status,
            "file_counts": counts,
        }


def store_of(row: Row) -> StoreRow:
    """A row of the table `stores`."""
    return StoreRow(
        id=row["id"],
        tenant=row["tenant"],
        name=row["name"],
        description=row["description"],
        metadata=json.loads(row["metadata"]),
        created_at=row["created_at"],
        last_active_at=row["last_active_at"],
        expires_days=row["expires_days"],
        embedding=row["embedding"],
        is_expired=bool(row["is_expired"]),
    )


def store_file_of(row: Row) -> StoreFileRow:
    """A row of the table `store_files`."""
    return StoreFileRow(
        store_id=row["store_id"],
        file_id=row["file_id"],
        batch_id=row["batch_id"],
        ingestion_id=row["ingestion_id"],
        created_at=row["created_at"],
        status=row["status"],
        attributes=json.loads(row["attributes"]),
        chunk_tokens=row["chunk_tokens"],
        overlap_tokens=row["overlap_tokens"],
        usage_bytes=row["usage_bytes"],
        error_code=row["error_code"],
        error_message=row["error_message"],
    )


def counts_of(rows: list[Row]) -> FileCounts:
    """From rows of (status, count)."""
    found = {row[0]: row[1] for row in rows}
    counts = {status: found.get(status, 0) for status in STATUSES}
    return cast(FileCounts, {**counts, "total": sum(counts.values())})
