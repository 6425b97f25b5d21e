"""The bytes of one version of a container: its calls, its files and the interpreter's state."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import orjson

from open_responses.tool_use.container_files import ContainerCall, ContainerFile, ContainerState


def encoded(container: ContainerState) -> bytes:
    """The bytes of a version: a line of JSON, and the interpreter's state."""
    head = {
        "calls": {key: {"logs": call.logs, "written": list(call.written)} for key, call in container.calls.items()},
        "state": container.state is not None,
        "files": [dataclasses.asdict(file) for file in container.files],
        "is_deleted": container.is_deleted,
        "name": container.name,
        "created_at": container.created_at,
        "idle_minutes": container.idle_minutes,
    }
    return orjson.dumps(head) + b"\n" + (container.state or b"")


def decoded(version: int, plain: bytes) -> ContainerState:
    """The container whose version has these bytes. Raises orjson.JSONDecodeError."""
    head, _, state = plain.partition(b"\n")
    told = orjson.loads(head)
    return ContainerState(
        version=version,
        calls={key: _call(call) for key, call in told.get("calls", {}).items()},
        state=state if told["state"] else None,
        files=tuple(ContainerFile(**file) for file in told.get("files", ())),
        is_deleted=told.get("is_deleted", False),
        name=told.get("name", ""),
        created_at=told.get("created_at", 0),
        idle_minutes=told.get("idle_minutes"),
    )


def _call(told: str | Mapping[str, object]) -> ContainerCall:
    """A call as it was written; earlier versions wrote its output alone."""
    if isinstance(told, str):
        return ContainerCall(told)
    written = told["written"]
    assert isinstance(written, list)
    return ContainerCall(str(told["logs"]), tuple(written))
