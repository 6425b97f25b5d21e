"""The container with which a conversation's next call of the code interpreter goes on, if a person decides about it.

What this prevents: an approved call that begins a new container, without the variables and files for which the model
wrote its code. A model turn reads the newest container from its context. A call that runs before the next model turn
has none, so the start of the response names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from api.app_state import AppState
from api.lookup import OwnedRecords
from api.responses.context import Earlier
from open_responses.errors import NotFound
from open_responses.json_types import JsonObject
from open_responses.schema.built_in_items import BuiltInCall, newest_item
from open_responses.schema.requests import CreateResponse
from open_responses.schema.tools import ProviderTool
from open_responses.tool_use.built_in import BUILT_IN_TOOLS
from open_responses.tool_use.code_functions import CODE_INTERPRETER

_PARAM = "previous_response_id"
_ROW = BUILT_IN_TOOLS[CODE_INTERPRETER]


async def earlier_container(
    state: AppState,
    records: OwnedRecords,
    asked: CreateResponse,
    earlier: Earlier,
    conversation: Sequence[JsonObject],
) -> str | None:
    """The container of the newest call in what the request continues; None if there is none, or none is needed.

    Raises ContextTooLarge.
    """
    table = state.settings.config.code_interpreter
    if table is None or not table.require_approval or not _may_go_on(asked):
        return None
    brought = [item for item in asked.input_items() if isinstance(item, BuiltInCall) and item.type == _ROW.item_type]
    if brought:
        return _named((brought[-1].model_extra or {}).get("container_id"))
    remembered = [] if earlier.remembered is None else earlier.remembered.turns
    for output in (conversation, *(turn.output for turn in reversed(remembered))):
        if (found := _of(output)) is not None:
            return found
    if not earlier.ancestors:
        return None
    try:
        newest = await records.get(earlier.ancestors[-1], _PARAM)
    except NotFound:
        return None
    if (found := _of(newest.output)) is not None:
        return found
    async for record in records.behind(newest, _PARAM):
        if (found := _of(record.output)) is not None:
            return found
    return None


def _may_go_on(asked: CreateResponse) -> bool:
    """Whether the request offers the tool without naming a container."""
    tools = (tool for tool in asked.tools or [] if isinstance(tool, ProviderTool) and tool.type in _ROW.types)
    return any(not isinstance((tool.model_extra or {}).get("container"), str) for tool in tools)


def _of(output: Iterable[JsonObject]) -> str | None:
    found = newest_item(_ROW.item_type, list(output))
    return None if found is None else _named(found.get("container_id"))


def _named(container_id: object) -> str | None:
    return container_id if isinstance(container_id, str) else None
