"""The `[vector_stores]` table of the configuration file: vector stores, and the search in them."""

from __future__ import annotations

from pydantic import Field, model_validator

from open_responses.config_tables.table import Table

_MIB = 1024 * 1024


class VectorStoresConfig(Table):
    """The `[vector_stores]` table.

    Attributes:
        database_env: The environment variable with the address of a PostgreSQL database with pgvector, such as
            `postgresql://user:password@host/name`. It then has the catalog of files and the vector stores, instead of
            SQLite in the files folder. A change takes a restart of all processes.
        embedding_provider: The provider whose `/embeddings` makes the vectors, by its name in `[[providers]]`. If None,
            a small model inside the worker makes them (all-MiniLM-L6-v2, for English).
        embedding_model: The provider's name of the model, such as `text-embedding-3-small`.
        chunk_tokens: The size of a chunk under the chunking strategy `auto`.
        chunk_overlap_tokens: The tokens that a chunk has in common with the one before it, under `auto`.
        max_stores: The most vector stores of a tenant.
        max_store_files: The most files in one vector store.
        max_text_bytes: The most text of one file. A file with more is `invalid_file`.
        parse_seconds: The longest CPU time in which a file is read. A file that takes longer is `invalid_file`.
        parse_memory_bytes: The most memory of the process that reads a file.
    """

    database_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    embedding_provider: str | None = None
    embedding_model: str | None = None
    chunk_tokens: int = Field(default=400, ge=100, le=4096)
    chunk_overlap_tokens: int = Field(default=100, ge=0)
    max_stores: int = Field(default=1000, gt=0)
    max_store_files: int = Field(default=10_000, gt=0)
    max_text_bytes: int = Field(default=32 * _MIB, gt=0)
    parse_seconds: int = Field(default=120, gt=0)
    parse_memory_bytes: int = Field(default=1024 * _MIB, ge=256 * _MIB)

    @model_validator(mode="after")
    def _agrees(self) -> VectorStoresConfig:
        if (self.embedding_provider is None) != (self.embedding_model is None):
            raise ValueError("embedding_provider and embedding_model need each other: set both, or neither")
        if self.chunk_overlap_tokens > self.chunk_tokens // 2:
            raise ValueError("chunk_overlap_tokens must be at most half of chunk_tokens")
        return self
