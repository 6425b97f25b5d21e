"""Checks the vector stores that a `file_search` tool of a request names, where this server runs the tool."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from api.app_state import AppState
from open_responses.errors import InvalidRequest, NotFound
from open_responses.io.files.tool_search import named_stores
from open_responses.loop.payloads.start import Target
from open_responses.schema.requests import CreateResponse
from open_responses.schema.tools import ProviderTool
from open_responses.tool_use.file_search import FILE_SEARCH, read_file_search


async def check_searched_stores(state: AppState, tenant: str, asked: CreateResponse, targets: Sequence[Target]) -> None:
    """Raises InvalidRequest for a tool with wrong settings and for a store that has expired, and NotFound for a store
    that the tenant does not have. `param` is the path in the request."""
    for index in sorted({index for target in targets for index in target.run_here}):
        tool = (asked.tools or [])[index]
        if not isinstance(tool, ProviderTool) or tool.type != FILE_SEARCH:
            continue
        try:
            found = read_file_search(tool.model_dump(mode="json", exclude_unset=True))
            await asyncio.to_thread(named_stores, state.folder, tenant, found)
        except (InvalidRequest, NotFound) as error:
            where = f"tools[{index}]"
            param = where if error.param is None else f"{where}.{error.param}"
            message = error.message.replace(f"'{error.param}'", f"'{param}'")
            raise type(error)(message, param=param, code=error.error_code) from error
