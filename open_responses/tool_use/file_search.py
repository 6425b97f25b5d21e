"""The tool `file_search`: its settings in a request, the function that stands for it, and what a search finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from open_responses.ids import is_id
from open_responses.json_types import JsonObject
from open_responses.schema.attribute_filters import BoundedFilter
from open_responses.schema.tools import FunctionTool, ProviderTool
from open_responses.schema.validation import CHECK_NAMES, RequestObject, complaint_of
from open_responses.schema.vector_store_requests import MAX_QUERY, MAX_RESULTS, RankingOptions

FILE_SEARCH = "file_search"
STORE_PREFIX = "vs_"
MAX_STORES = 8
"""The most vector stores of one tool."""
MOST_QUERIES = 4


class FileSearchTool(RequestObject):
    """`{"type": "file_search"}` in the `tools` of a request."""

    type: Literal["file_search"]
    vector_store_ids: Annotated[
        list[Annotated[str, Field(max_length=80)]], Field(min_length=1, max_length=MAX_STORES, fail_fast=True)
    ]
    filters: BoundedFilter | None = None
    max_num_results: Annotated[int, Field(ge=1, le=MAX_RESULTS)] | None = None
    ranking_options: RankingOptions | None = None


@dataclass(frozen=True, slots=True)
class FoundChunk:
    """A chunk of a file that a search has found. `score` is between 0 and 1."""

    file_id: str
    filename: str
    score: float
    attributes: JsonObject
    text: str


def read_file_search(tool: JsonObject) -> FileSearchTool:
    """Return the tool of a request, checked. Raises InvalidRequest, whose `param` is a path in the tool."""
    try:
        return FileSearchTool.model_validate(tool, context=CHECK_NAMES)
    except ValidationError as error:
        raise complaint_of(error) from None


def searches_here(tool: ProviderTool) -> bool:
    """Return whether a tool names vector stores of this server's alone. Their ids have a form of their own."""
    named = (tool.model_extra or {}).get("vector_store_ids")
    return (
        tool.type == FILE_SEARCH
        and isinstance(named, list)
        and bool(named)
        and all(isinstance(one, str) and is_id(STORE_PREFIX, one) for one in named)
    )


def file_search_functions(_: JsonObject) -> list[FunctionTool]:
    """Return the function that a model is offered in the tool's place."""
    return [
        FunctionTool(
            type="function",
            name=FILE_SEARCH,
            description="Search the files that belong to this conversation. Returns the passages that fit best, with "
            "the names of their files.",
            parameters={
                "type": "object",
                "properties": {
                    "queries": {
                        "type": "array",
                        "items": {"type": "string"},
                        "minItems": 1,
                        "maxItems": MOST_QUERIES,
                        "description": "What to search for: one question, or several ways to ask it.",
                    }
                },
                "required": ["queries"],
                "additionalProperties": False,
            },
        )
    ]


def queries_of(arguments: JsonObject) -> list[str]:
    """Return the queries that a model wrote, as far as they are texts; none if it wrote something else."""
    given = arguments.get("queries")
    found = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    return [one.strip()[:MAX_QUERY] for one in found if isinstance(one, str) and one.strip()][:MOST_QUERIES]
