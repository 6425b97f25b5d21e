"""Runs `file_search`: searches the vector stores of the request, and shows the model what was found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from open_responses.contracts import ToolError
from open_responses.errors import InvalidRequest, NotFound
from open_responses.json_types import JsonObject
from open_responses.tool_use.built_in_engine import BuiltInResult, BuiltInRun
from open_responses.tool_use.file_search import FileSearchTool, FoundChunk, queries_of, read_file_search


class Finder(Protocol):
    """Searches vector stores of a tenant."""

    async def find(self, tenant: str, tool: FileSearchTool, queries: Sequence[str]) -> Sequence[FoundChunk]:
        """Return the best chunks, best first.

        Raises NotFound for a store that the tenant does not have any more, InvalidRequest for one that has expired, and
        another error if the search can be tried again.
        """
        ...


class FileSearchEngine:
    """The engine of `file_search` (`open_responses/tool_use/built_in_engine.py`)."""

    def __init__(self, finder: Finder) -> None:
        self._finder = finder

    async def run(self, call: BuiltInRun) -> BuiltInResult:
        """Search. Raises ToolError for arguments without a query, and for a vector store that is gone."""
        queries = queries_of(call.arguments)
        if not queries:
            raise ToolError("Send 'queries': an array of texts to search for.")
        try:
            found = await self._finder.find(call.context.tenant, read_file_search(call.settings), queries)
        except (NotFound, InvalidRequest) as error:
            raise ToolError(error.message) from error
        results = [_result(chunk) for chunk in found]
        if not found:
            return BuiltInResult("Nothing was found. Try other words.", {"queries": queries, "results": results})
        texts = [f"{call.mark(index)} {chunk.filename}\n{chunk.text.strip()}" for index, chunk in enumerate(found)]
        return BuiltInResult(
            output="\n\n".join(texts),
            item={"queries": queries, "results": results},
            citations=[
                {"type": "file_citation", "file_id": chunk.file_id, "filename": chunk.filename} for chunk in found
            ],
        )


def _result(chunk: FoundChunk) -> JsonObject:
    return {
        "file_id": chunk.file_id,
        "filename": chunk.filename,
        "score": chunk.score,
        "attributes": chunk.attributes,
        "text": chunk.text,
    }
