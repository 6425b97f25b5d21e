"""Whether a process may be restarted now, from what is known of the server's health."""

from __future__ import annotations

from typing import Any, cast

import pytest

from api.operations.restart import restart_advice
from open_responses.schema.operation_bodies import ServerHealth


def health(**changes: Any) -> ServerHealth:
    part = {"ok": True, "detail": None, "latency_ms": 1.0}
    worker = {"id": "w", "lease_age_seconds": 0.1, "running": 0, "version": None}
    sound = {
        "temporal": part,
        "redis": part,
        "workers": [worker, {**worker, "id": "v"}],
        "backlog": {"workflow_tasks": 0, "activity_tasks": 0, "oldest_seconds": 0.0},
        "configuration": {"loaded_at": 1.0, "error": None},
    }
    return cast(ServerHealth, {**sound, **changes})


def test_a_sound_server_may_be_restarted_process_by_process() -> None:
    assert restart_advice(health()) == {"is_safe": True, "reasons": [], "notes": []}


def test_running_activities_are_noted_and_do_not_prevent_a_restart() -> None:
    advice = restart_advice(health(workers=[{"id": "w", "lease_age_seconds": 0.1, "running": 3, "version": None}]))
    assert advice["is_safe"]
    one_serves, runs = advice["notes"]
    assert one_serves.startswith("One worker serves")
    assert runs.startswith("3 model turns and tool calls")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"temporal": {"ok": False, "detail": "no answer within 1 s", "latency_ms": 1000.0}}, "Temporal: no answer"),
        ({"redis": {"ok": False, "detail": "refused", "latency_ms": 1.0}, "workers": []}, "Redis: refused"),
        ({"workers": []}, "No worker runs"),
        ({"configuration": {"loaded_at": 1.0, "error": "routes[0]: …"}}, "The configuration file is refused"),
        ({"backlog": {"workflow_tasks": 9, "activity_tasks": 0, "oldest_seconds": 45.0}}, "Work has waited"),
    ],
)
def test_a_restart_that_would_lose_something_is_advised_against(changes: dict[str, Any], reason: str) -> None:
    advice = restart_advice(health(**changes))
    assert not advice["is_safe"]
    assert [one.startswith(reason) for one in advice["reasons"]] == [True]
