"""Keeps the history of a run for `test_replay.py`: of the newest run, unless another is named.

`python -m tests.support.record_history ADDRESS RESPONSE_ID NAME [RUN_ID]`
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from temporalio.client import Client

from open_responses.io.temporal.codec import DATA_CONVERTER

HISTORIES = Path(__file__).parents[1] / "durability" / "histories"


async def record(address: str, response_id: str, name: str, run_id: str | None = None) -> None:
    client = await Client.connect(address, data_converter=DATA_CONVERTER)
    history = await client.get_workflow_handle(response_id, run_id=run_id).fetch_history()
    (HISTORIES / f"{name}.json").write_text(history.to_json() + "\n")


if __name__ == "__main__":
    asyncio.run(record(*sys.argv[1:5]))
