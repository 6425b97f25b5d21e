"""A query that meets a conversation between two of its runs reaches the next one."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowQueryRejectedError

from api.conversations.access import Busy, OwnedConversation
from open_responses.errors import NotFound

STATUS = WorkflowExecutionStatus
FOUND = {"id": "msg_1"}


def conversation(rejections: Iterable[WorkflowExecutionStatus]) -> OwnedConversation:
    left = list(rejections)

    async def query(*_: Any, **__: Any) -> Any:
        if left:
            raise WorkflowQueryRejectedError(left.pop(0))
        return FOUND

    client = SimpleNamespace(get_workflow_handle=lambda _: SimpleNamespace(query=query))
    return OwnedConversation(cast(Any, client), "conv_1", "conversation_id", cast(Any, None))


async def test_the_run_behind_one_that_hands_over_answers() -> None:
    assert await conversation([STATUS.CONTINUED_AS_NEW]).item("msg_1") == FOUND


async def test_one_that_hands_over_at_each_look_is_busy() -> None:
    with pytest.raises(Busy):
        await conversation([STATUS.CONTINUED_AS_NEW] * 3).item("msg_1")


@pytest.mark.parametrize("status", [STATUS.TERMINATED, STATUS.COMPLETED, STATUS.FAILED])
async def test_one_that_has_ended_is_unknown(status: WorkflowExecutionStatus) -> None:
    with pytest.raises(NotFound):
        await conversation([status]).item("msg_1")
