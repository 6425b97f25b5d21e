"""Advice on the restart of a process, from the server's health."""

from __future__ import annotations

from open_responses.schema.operation_bodies import RestartAdvice, ServerHealth

_LATE_SECONDS = 30.0


def restart_advice(health: ServerHealth) -> RestartAdvice:
    """One API process or worker at a time may be restarted, unless `reasons` has an entry.

    A process hands over what it runs when it is stopped. So the question is whether something else takes it over, and
    whether the process comes back.
    """
    reasons, notes = [], []
    if not health["temporal"]["ok"]:
        reasons.append(f"Temporal: {health['temporal']['detail']}. A worker cannot hand over what it runs.")
    if not health["redis"]["ok"]:
        reasons.append(f"Redis: {health['redis']['detail']}. The events that only a worker still has would be lost.")
    elif not health["workers"]:
        reasons.append("No worker runs: start one first.")
    elif len(health["workers"]) == 1:
        notes.append(
            "One worker serves. If it is restarted and no standby waits, streams pause until it is ready again."
        )
    if health["configuration"]["error"] is not None:
        reasons.append(
            "The configuration file is refused. A running process keeps the one before it; a restarted one would not "
            "start."
        )
    late = health["backlog"]["oldest_seconds"]
    if late >= _LATE_SECONDS:
        reasons.append(f"Work has waited for a worker for {late:.0f} s: add workers, or wait.")
    if busy := sum(worker["running"] for worker in health["workers"]):
        notes.append(f"{busy} model turns and tool calls run now. They are handed over, and go on elsewhere.")
    return {"is_safe": not reasons, "reasons": reasons, "notes": notes}
