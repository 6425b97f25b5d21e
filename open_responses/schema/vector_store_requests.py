"""The bodies of requests to `/v1/vector_stores`, with the forms of OpenAI's API."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, Tag, model_validator

from open_responses.schema.attribute_filters import BoundedFilter, FileAttributes
from open_responses.schema.request_settings import Metadata
from open_responses.schema.validation import RequestObject, by_type, either, fault

MAX_BATCH = 500
MAX_RESULTS = 50
MAX_QUERY, MAX_QUERIES = 4096, 8
_MIN_CHUNK, _MAX_CHUNK = 100, 4096

Name: TypeAlias = Annotated[str, Field(max_length=256)]
FileId: TypeAlias = Annotated[str, Field(max_length=80)]


class StoreExpiresAfter(RequestObject):
    """Days after the store was last used."""

    anchor: Literal["last_active_at"]
    days: Annotated[int, Field(ge=1, le=365)]


class ChunkSizes(RequestObject):
    """In tokens."""

    max_chunk_size_tokens: Annotated[int, Field(ge=_MIN_CHUNK, le=_MAX_CHUNK)]
    chunk_overlap_tokens: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _overlap_is_at_most_half(self) -> ChunkSizes:
        if self.chunk_overlap_tokens > self.max_chunk_size_tokens // 2:
            raise fault(
                "invalid_value", "must be at most half of 'max_chunk_size_tokens'", field="chunk_overlap_tokens"
            )
        return self


class AutoChunking(RequestObject):
    """The server chooses the sizes."""

    type: Literal["auto"]


class StaticChunking(RequestObject):
    """Chunks of these sizes."""

    type: Literal["static"]
    static: ChunkSizes


ChunkingStrategy: TypeAlias = Annotated[
    Annotated[AutoChunking, Tag("<auto>")] | Annotated[StaticChunking, Tag("<static>")],
    by_type("an object with a chunking strategy", "auto", "static"),
]


class CreateVectorStore(RequestObject):
    """`POST /v1/vector_stores`."""

    name: Name | None = None
    description: Annotated[str, Field(max_length=1024)] | None = None
    file_ids: Annotated[list[FileId], Field(max_length=MAX_BATCH, fail_fast=True)] | None = None
    chunking_strategy: ChunkingStrategy | None = None
    expires_after: StoreExpiresAfter | None = None
    metadata: Metadata | None = None


class ModifyVectorStore(RequestObject):
    """`POST /v1/vector_stores/{id}`. What is not sent stays; null removes."""

    name: Name | None = None
    expires_after: StoreExpiresAfter | None = None
    metadata: Metadata | None = None


class AttachFile(RequestObject):
    """`POST /v1/vector_stores/{id}/files`, and an entry of a batch."""

    file_id: FileId
    attributes: FileAttributes | None = None
    chunking_strategy: ChunkingStrategy | None = None


class ModifyAttributes(RequestObject):
    """`POST /v1/vector_stores/{id}/files/{file_id}`."""

    attributes: FileAttributes | None


class CreateFileBatch(RequestObject):
    """`POST /v1/vector_stores/{id}/file_batches`: either `file_ids`, or `files` with settings of their own."""

    file_ids: Annotated[list[FileId], Field(min_length=1, max_length=MAX_BATCH, fail_fast=True)] | None = None
    files: Annotated[list[AttachFile], Field(min_length=1, max_length=MAX_BATCH, fail_fast=True)] | None = None
    attributes: FileAttributes | None = None
    chunking_strategy: ChunkingStrategy | None = None

    @model_validator(mode="after")
    def _has_one_of_two(self) -> CreateFileBatch:
        if (self.file_ids is None) == (self.files is None):
            raise fault("invalid_value", "and 'files' exclude each other. Send one of them", field="file_ids")
        return self

    def entries(self) -> list[AttachFile]:
        """The files, each with its settings."""
        if self.files is not None:
            return self.files
        return [
            AttachFile(file_id=one, attributes=self.attributes, chunking_strategy=self.chunking_strategy)
            for one in self.file_ids or ()
        ]


class HybridWeights(RequestObject):
    """How much the similarity of meaning and that of words count in a score."""

    embedding_weight: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]
    text_weight: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]

    @model_validator(mode="after")
    def _one_counts(self) -> HybridWeights:
        if self.embedding_weight + self.text_weight <= 0:
            raise fault("invalid_value", "and 'text_weight' must not both be 0", field="embedding_weight")
        return self


class RankingOptions(RequestObject):
    """`none` compares meanings alone; the others compare words as well."""

    ranker: Literal["none", "auto", "default-2024-11-15"] | None = None
    score_threshold: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    hybrid_search: HybridWeights | None = None


def _not_rewritten(value: bool) -> bool:
    if value:
        raise fault("unsupported_parameter", "is not supported here: send the query as it should be searched")
    return value


_Query: TypeAlias = Annotated[str, Field(min_length=1, max_length=MAX_QUERY)]


class SearchVectorStore(RequestObject):
    """`POST /v1/vector_stores/{id}/search`."""

    query: Annotated[
        Annotated[_Query, Tag("<text>")]
        | Annotated[list[_Query], Field(min_length=1, max_length=MAX_QUERIES, fail_fast=True), Tag("<texts>")],
        either("a string or an array of strings", text=str, texts=list),
    ]
    filters: BoundedFilter | None = None
    max_num_results: Annotated[int, Field(ge=1, le=MAX_RESULTS)] | None = None
    ranking_options: RankingOptions | None = None
    rewrite_query: Annotated[bool, AfterValidator(_not_rewritten)] | None = None

    @property
    def queries(self) -> list[str]:
        """The queries, of which there is at least one."""
        return [self.query] if isinstance(self.query, str) else self.query
