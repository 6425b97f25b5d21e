"""The item of a call of a built-in tool that this server runs, from its beginning to its end."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Sequence

from open_responses.contracts import ToolOutput
from open_responses.ids import member_id
from open_responses.json_types import JsonObject
from open_responses.schema.built_in_items import CALL, taken_out
from open_responses.tool_use.built_in_row import BuiltIn, Opening

# Behind the numbers of all calls that are counted.
_FIRST_APPROVED, _APPROVED = 100_000, 900_000


def opened_item(
    row: BuiltIn, item_id: str, opening: Opening, *, ordinal: int, arguments: str | None, members: JsonObject
) -> JsonObject:
    """Return the item of a call that begins.

    Args:
        row: The tool.
        item_id: The id of the item.
        opening: The call.
        ordinal: The number of the call among those of the context, from 1.
        arguments: The arguments as the model wrote them; None while they are streamed as the item's own text.
        members: Members of the model's call that its provider has to get back.
    """
    call: JsonObject = {"function": opening.function, "ordinal": ordinal}
    if arguments is not None:
        call["arguments"] = arguments
    if members:
        call["members"] = members
    if opening.functions:
        call["functions"] = list(opening.functions)
    return {"type": row.item_type, "id": item_id, "status": "in_progress", **row.opening(opening), CALL: call}


def approved_item(
    row: BuiltIn, response_id: str, index: int, opening: Opening, *, approval_id: str, arguments: str
) -> JsonObject:
    """Return the item of a call that a person has decided about, with its arguments.

    The workflow does not know how many calls the context has, so the number follows from the approval.

    Args:
        row: The tool.
        response_id: The response that runs the call.
        index: The output index of the item.
        opening: The call.
        approval_id: The id of the approval request.
        arguments: The arguments as the model wrote them.
    """
    ordinal = _FIRST_APPROVED + zlib.crc32(approval_id.encode()) % _APPROVED
    item = opened_item(
        row, member_id(row.id_prefix, response_id, index), opening, ordinal=ordinal, arguments=arguments, members={}
    )
    if row.streamed is not None:
        item = {**item, row.streamed: str(opening.arguments.get(row.streamed, ""))}
    return {**item, "approval_request_id": approval_id}


def ended_item(
    item: JsonObject,
    row: BuiltIn,
    *,
    output: ToolOutput,
    members: JsonObject,
    citations: Sequence[JsonObject],
    failed: bool,
    include: Collection[str],
    is_stored: bool,
) -> JsonObject:
    """Return the item of a call that has ended.

    Args:
        item: The item as it began.
        row: The tool.
        output: The output that the model reads.
        members: The members of the finished item, as the engine returned them.
        citations: The annotations that the model may cite.
        failed: Whether the call failed.
        include: The request's `include`. Members that `row.on_request` has and it does not name are left out.
        is_stored: Whether the response is stored. `open_responses_call` then keeps what is left out, for a client that
            asks for it when it reads the item.
    """
    shown, kept = taken_out(item, members, [name for name in row.on_request if name not in include])
    call = {
        **item[CALL],
        "output": output,
        **({"citations": list(citations)} if citations else {}),
        **({"on_request": kept} if kept and is_stored else {}),
    }
    own = {"type": item["type"], "id": item["id"], "status": "failed" if failed else "completed", CALL: call}
    return {**item, **shown, **own}


def read_arguments(written: str) -> JsonObject:
    """Return the arguments that a model wrote, or none if they are no JSON object."""
    try:
        read = json.loads(written)
    except (ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}
