"""How many functions of the project one delta passes: a number that every run counts alike (`benchmarks/calls`)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from benchmarks.calls.api_side import api
from benchmarks.calls.worker_side import worker
from benchmarks.load.wire import chat_answer, responses_answer

ROOT = Path(__file__).parents[2]
STREAMS, ROUNDS, TOKENS = 4, 10, 20

SIDES: dict[str, tuple[Callable[[], AbstractAsyncContextManager[Any]], int]] = {
    "worker, openai-chat": (lambda: worker("openai-chat", chat_answer(TOKENS), STREAMS), 55),
    "worker, openai": (lambda: worker("openai", responses_answer(TOKENS), STREAMS), 60),
    "api": (lambda: api(STREAMS), 28),
}
"""Each with a few more than it had when this was written. A change that needs more than that should say what for."""


@pytest.mark.parametrize("name", SIDES)
async def test_a_delta_passes_no_more_functions_than_it_did(name: str) -> None:
    begun, most = SIDES[name]
    async with begun() as live:
        for _ in range(3):
            await live.round(1)
        counted = await live.counted(ROUNDS, 1)
    ours = sum(calls for file, calls in counted.by_file().items() if (ROOT / file).exists())
    assert 5 < ours / (STREAMS * ROUNDS) <= most, counted.by_file().most_common()
