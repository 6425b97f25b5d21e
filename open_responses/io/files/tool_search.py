"""Searches the vector stores that a `file_search` tool names, for the tenant of the response."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from open_responses.config import Config
from open_responses.errors import InvalidRequest, NotFound
from open_responses.io.files.engine import embedding_of
from open_responses.io.files.folder import FilesFolder
from open_responses.io.files.searching import DEFAULT_RESULTS
from open_responses.io.files.store_rows import StoreRow
from open_responses.tool_use.file_search import FileSearchTool, FoundChunk


class ToolSearch:
    """The search behind the tool."""

    def __init__(self, folder: FilesFolder, config: Config, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._embedding = embedding_of(config, environ)

    async def find(self, tenant: str, tool: FileSearchTool, queries: Sequence[str]) -> list[FoundChunk]:
        """Return the best chunks, best first. Raises as `named_stores` and `StoreSearch.search` do."""
        stores = await asyncio.to_thread(named_stores, self._folder, tenant, tool)
        return await self._folder.search.search(
            stores,
            queries,
            self._embedding,
            filter=tool.filters,
            ranking=tool.ranking_options,
            most=tool.max_num_results or DEFAULT_RESULTS,
        )


def named_stores(folder: FilesFolder, tenant: str, tool: FileSearchTool) -> list[StoreRow]:
    """The stores that a tool names, each once. Blocks.

    Raises NotFound for a store that the tenant does not have, and InvalidRequest for one that has expired. `param` is a
    path in the tool.
    """
    found: dict[str, StoreRow] = {}
    for index, store_id in enumerate(tool.vector_store_ids):
        param = f"vector_store_ids[{index}]"
        store = folder.stores.get(store_id, tenant)
        if store is None:
            raise NotFound(f"Vector store with id {store_id!r} not found.", param=param)
        if store.is_expired:
            raise InvalidRequest(
                f"The vector store {store.id} has expired, and its index was deleted. Create another one.",
                param=param,
                code="vector_store_expired",
            )
        found[store.id] = store
    return list(found.values())
