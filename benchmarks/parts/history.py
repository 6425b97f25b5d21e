"""What a long answer leaves in Temporal's history."""

from __future__ import annotations

import httpx
from temporalio.client import Client

from benchmarks.stack import prompt
from open_responses.io.temporal.codec import DATA_CONVERTER
from tests.support.stack import Stack


async def measure(client: httpx.AsyncClient, stack: Stack, _: str) -> None:
    answer = await client.post(stack.api_url + "/v1/responses", json={"model": "fake", "input": prompt(1000)})
    temporal = await Client.connect(stack.temporal_address, data_converter=DATA_CONVERTER)
    info = (await temporal.get_workflow_handle(answer.json()["id"]).describe()).raw_description.workflow_execution_info
    print(f"history of a 1,000-token answer: {info.history_length} events, {info.history_size_bytes} bytes")
