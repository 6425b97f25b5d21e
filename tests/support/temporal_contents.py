"""What an operator can read in Temporal: every byte of each workflow that began since a moment, payloads decoded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowExecution
from temporalio.service import RPCError, RPCStatusCode

from open_responses.io.temporal.large_payloads import ERASED, opened


async def contents_since(temporal: Client, since: datetime) -> dict[str, bytes]:
    """By workflow id: the history, and what a description has (memo, search attributes, summary and details), raw and
    with each payload decoded. A workflow that is deleted meanwhile is left out."""
    found: dict[str, bytes] = {}
    # The database keeps milliseconds.
    query = f"StartTime >= '{since.replace(microsecond=0).isoformat()}'"
    async for execution in temporal.list_workflows(query):
        try:
            messages = await _messages_of(temporal, execution)
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                continue
            raise
        contents = [await _bytes_of(temporal, message) for message in messages]
        found[execution.id] = found.get(execution.id, b"") + b"".join(contents)
    return found


async def _messages_of(temporal: Client, execution: WorkflowExecution) -> list[Message]:
    handle = temporal.get_workflow_handle(execution.id, run_id=execution.run_id)
    description = await handle.describe()
    events = [event async for event in handle.fetch_history_events()]
    return [execution.raw_info, description.raw_description, *events]


async def _bytes_of(temporal: Client, message: Message) -> bytes:
    contents = [message.SerializeToString()]
    for payload in _payloads_in(message):
        # Another test's response may have been erased, with its key.
        with contextlib.suppress(*ERASED):
            contents += [one.data for one in await opened(temporal.data_converter, [payload])]
    return b"\n".join(contents)


def _payloads_in(message: Message) -> Iterator[Payload]:
    if isinstance(message, Payload):
        yield message
        return
    for field, value in message.ListFields():
        if field.type != FieldDescriptor.TYPE_MESSAGE:
            continue
        if isinstance(value, Message):
            values = [value]
        elif field.message_type.GetOptions().map_entry:
            values = [one for one in value.values() if isinstance(one, Message)]
        else:
            values = list(value)
        for one in values:
            yield from _payloads_in(one)
