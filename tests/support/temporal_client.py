"""A client of the stack's Temporal as the server's processes make theirs, and the input of a response's run."""

from __future__ import annotations

from temporalio.client import Client

from open_responses.io.temporal.large_payloads import data_converter
from open_responses.loop.payloads.start import StartResponse
from tests.support.stack import Stack


async def client_of_temporal(stack: Stack) -> Client:
    """It reads large payloads, which are files of the stack."""
    return await Client.connect(stack.temporal_address, data_converter=data_converter(stack.data / "blobs"))


async def input_of(temporal: Client, response_id: str) -> StartResponse:
    """What the response's first run was started with, as the UI shows it."""
    async for event in temporal.get_workflow_handle(response_id).fetch_history_events(page_size=1):
        payloads = event.workflow_execution_started_event_attributes.input.payloads
        (start,) = await temporal.data_converter.decode(payloads, [StartResponse])
        assert isinstance(start, StartResponse)
        return start
    raise AssertionError("no history")
