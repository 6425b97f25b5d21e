"""Workflow tasks: waits until the decisions of the current one are in history.

Temporal repeats a task whose worker died before it reported the task, with everything that arrived in the meantime.
Local activities have run by then: a client may have been sent the end of a response that the repeated task would end
differently. So an ending is announced only if a repeated task must come to the same one: a model's final answer wins
over a stop in the same task, and every other ending is decided in one task and announced in the next.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TypeVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows.patches import patched

Result = TypeVar("Result")

# The shortest timer that Temporal has. It fires in a later workflow task, which Temporal begins only after it has
# recorded the first.
_SHORTEST = timedelta(milliseconds=1)

# The passes of the event loop by which code that waits for an activity continues later than code that waits for a timer
# (`until_stopped`, in order). With one pass less, the timer overtakes results that precede it in history; with one
# more, results that follow it overtake the timer. An SDK cannot change the number without a flag in history, because
# the order of commands, which replay compares, depends on it. tests/unit/test_order_in_a_task.py measures it.
_LOOP_PASSES_TO_A_RESULT = 2
_LOOP_PASSES_IN_EARLIER_RUNS = 4


def current_task() -> int:
    """The id of the current workflow task: the length of history at its start, the same for all of its activations."""
    return workflow.info().get_current_history_length()


async def next_task() -> None:
    """Return in a later workflow task, when all earlier decisions are in history."""
    await workflow.sleep(_SHORTEST, summary="the ending is recorded before it is announced")


async def next_task_in_order() -> None:
    """Do the same as `next_task`, in the order of history: when this returns, the workflow has handled the results of
    the same task that precede the timer in history, and none of those that follow it.

    The SDK resumes waiting code in the order of history, but code that waits for an activity only some passes of the
    event loop later.
    """
    await next_task()
    await behind_results()


async def behind_results() -> None:
    """Let code that waits for an activity's result of this task continue, where the result precedes the event that has
    resumed the caller."""
    is_exact = patched("an-approval-in-the-order-of-history")
    for _ in range(_LOOP_PASSES_TO_A_RESULT if is_exact else _LOOP_PASSES_IN_EARLIER_RUNS):
        await asyncio.sleep(0)


async def came_with_the_stop(handle: asyncio.Future[Result]) -> bool:
    """Whether the result belongs to the task in which the response was stopped.

    The SDK applies signals before the results of the same task. A task that ended with this result, and is repeated
    with a `cancel` that arrived behind it, would see the `cancel` first.
    """
    stopped_in, ended_in = current_task(), list[int]()
    handle.add_done_callback(lambda _: ended_in.append(current_task()))
    await next_task()
    return ended_in[:1] == [stopped_in]
