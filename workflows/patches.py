"""Steps that runs of earlier versions do not take (`workflow.patched`), without a marker in each new run's history.

What this prevents: two events in history for each patch that a run reaches, a marker and a search attribute. A start
has the number of the levels below that its run knows, and only a run that was started before records the others.
"""

from __future__ import annotations

from temporalio import workflow

LEVELS: tuple[frozenset[str], ...] = (
    frozenset(
        {
            "a-claim-ends-with-the-stop",
            "a-diverged-stream-ends",
            "an-approval-in-the-order-of-history",
            "calls-of-a-broken-turn",
            "cancelled-without-a-timer",
            "claims-at-the-start",
            "conversations",
            "cut-off-items-before-the-end",
            "live-answers-are-claimed",
            "no-output-behind-what-was-cut-off",
            "the-same-break-twice",
            "unknown-outcomes-are-said",
        }
    ),
    frozenset({"scheduled-runs", "webhooks"}),
    frozenset({"a-late-start-is-cancelled", "a-start-ends-before-its-cancellation"}),
    frozenset({"a-look-ends-with-its-run"}),
)
"""The patches by the level that brought them.

A level is complete once a version with it has started a response. A later patch goes into the next one, whose number is
`PATCH_LEVEL` in `open_responses/loop/payloads/start.py`.
"""


def patched(patch: str) -> bool:
    """Whether this run takes the step that the patch introduced."""
    level: int = getattr(workflow.instance(), "patch_level", 0)
    return any(patch in patches for patches in LEVELS[:level]) or workflow.patched(patch)
