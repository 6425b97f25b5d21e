"""The JSON answers of `/v1/vector_stores`, with the forms of OpenAI's API."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypeAliasType, TypedDict

IngestionStatus = TypeAliasType("IngestionStatus", Literal["in_progress", "completed", "cancelled", "failed"])
IngestionErrorCode = TypeAliasType("IngestionErrorCode", Literal["server_error", "unsupported_file", "invalid_file"])
AttributeValues = TypeAliasType("AttributeValues", dict[str, str | float | bool])


class FileCounts(TypedDict):
    """The files of a store or a batch by their status."""

    in_progress: int
    completed: int
    failed: int
    cancelled: int
    total: int


class StoreExpiry(TypedDict):
    """Days after the store was last used."""

    anchor: Literal["last_active_at"]
    days: int


class VectorStore(TypedDict):
    """A vector store."""

    id: str
    object: Literal["vector_store"]
    created_at: int
    name: str
    description: str | None
    usage_bytes: int
    file_counts: FileCounts
    status: Literal["expired", "in_progress", "completed"]
    expires_after: StoreExpiry | None
    expires_at: int | None
    last_active_at: int
    metadata: dict[str, str]


class IngestionError(TypedDict):
    """Why a file could not be read."""

    code: IngestionErrorCode
    message: str


class ChunkSizesInForce(TypedDict):
    """In tokens."""

    max_chunk_size_tokens: int
    chunk_overlap_tokens: int


class ChunkingInForce(TypedDict):
    """The strategy by which a file was cut, `auto` as the sizes that it stood for."""

    type: Literal["static"]
    static: ChunkSizesInForce


class VectorStoreFile(TypedDict):
    """A file in a vector store."""

    id: str
    object: Literal["vector_store.file"]
    created_at: int
    vector_store_id: str
    usage_bytes: int
    status: IngestionStatus
    last_error: IngestionError | None
    attributes: AttributeValues
    chunking_strategy: ChunkingInForce


class VectorStoreFileBatch(TypedDict):
    """Files that were attached by one request."""

    id: str
    object: Literal["vector_store.files_batch"]
    created_at: int
    vector_store_id: str
    status: IngestionStatus
    file_counts: FileCounts


class VectorStorePage(TypedDict):
    """One page of a list of vector stores."""

    object: Literal["list"]
    data: list[VectorStore]
    first_id: str | None
    last_id: str | None
    has_more: bool


class VectorStoreFilePage(TypedDict):
    """One page of a list of files in a vector store."""

    object: Literal["list"]
    data: list[VectorStoreFile]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedVectorStore(TypedDict):
    """The answer to a deletion."""

    id: str
    object: Literal["vector_store.deleted"]
    deleted: Literal[True]


class DeletedVectorStoreFile(TypedDict):
    """The answer to the removal of a file from a store. The file itself is kept."""

    id: str
    object: Literal["vector_store.file.deleted"]
    deleted: Literal[True]


class StoredText(TypedDict):
    """A piece of a file's text."""

    type: Literal["text"]
    text: str


class FileContentPage(TypedDict):
    """The text of a file, as it was read, in its chunks without their overlap."""

    object: Literal["vector_store.file_content.page"]
    data: list[StoredText]
    has_more: Literal[False]
    next_page: None


class SearchResult(TypedDict):
    """A chunk that a search has found."""

    file_id: str
    filename: str
    score: float
    attributes: AttributeValues
    content: list[StoredText]


class SearchResultsPage(TypedDict):
    """The answer to a search, best first."""

    object: Literal["vector_store.search_results.page"]
    search_query: list[str]
    data: list[SearchResult]
    has_more: Literal[False]
    next_page: None
