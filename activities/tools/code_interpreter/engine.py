"""The engine of `code_interpreter`: runs a call's code on the state of its container, exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol
from weakref import WeakValueDictionary

from activities.tools.code_interpreter.code import LOST, run_code
from activities.tools.code_interpreter.sandbox import Sandbox
from open_responses.contracts import ToolError
from open_responses.tool_use.built_in_engine import BuiltInResult, BuiltInRun

_LONGEST_CODE = 100_000
_TRIES = 8
_NOTHING = "(The code ran and printed nothing. Use print() to see values.)"


class State(Protocol):
    """A container's state after a call (`open_responses/io/store/containers.py`)."""

    @property
    def version(self) -> int: ...
    @property
    def calls(self) -> Mapping[str, str]: ...
    @property
    def state(self) -> bytes | None: ...
    @property
    def is_sealed(self) -> bool: ...


class States(Protocol):
    """The states of containers."""

    async def load(self, tenant: str, container_id: str) -> State:
        """The state; an empty one if there is none."""
        ...

    async def keep_after(
        self,
        tenant: str,
        container_id: str,
        version: int,
        *,
        call_key: str,
        logs: str,
        state: bytes,
        calls: Mapping[str, str] | None = None,
    ) -> bool:
        """Write the state after a call. `calls` are those of the state before it.

        Returns False if another call has changed it since that version was read."""
        ...

    def is_begun_by(self, container_id: str, response_id: str) -> bool:
        """Whether the container began in this response."""
        ...


class Files(Protocol):
    """The tenants' files (`activities/tool_calls/lent_files.py`)."""

    def folder(self, tenant: str, file_ids: Sequence[str]) -> AbstractAsyncContextManager[Path | None]:
        """A folder with these files; None without any."""
        ...


class CodeInterpreter:
    """The engine. One object serves all calls of a worker."""

    def __init__(self, sandbox: Sandbox, states: States, files: Files) -> None:
        self._sandbox = sandbox
        self._states = states
        self._files = files
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def run(self, call: BuiltInRun) -> BuiltInResult:
        """Run the code. An error of the code is output that the model reads, and no failure of the call."""
        code = call.arguments.get("code")
        if not isinstance(code, str) or set(call.arguments) - {"code"}:
            raise ToolError("The call takes one argument, code: a string of Python.")
        if len(code) > _LONGEST_CODE:
            raise ToolError(f"The code has {len(code)} characters, and at most {_LONGEST_CODE} are run.")
        container_id = str(call.item["container_id"])
        lock = self._locks.setdefault(container_id, asyncio.Lock())
        async with lock, self._files.folder(call.context.tenant, _file_ids(call)) as folder:
            logs = await self._logs(call, code, container_id, folder)
        shown = [{"type": "logs", "logs": logs}] if logs else []
        item = {"code": code, "container_id": container_id, "outputs": shown}
        return BuiltInResult(output=logs or _NOTHING, item=item)

    async def _logs(self, call: BuiltInRun, code: str, container_id: str, folder: Path | None) -> str:
        """Run the code, and once more on the newer state if another call of the container ended meanwhile: the code
        has no effect but on the state."""
        context, states = call.context, self._states
        for _ in range(_TRIES):
            before = await states.load(context.tenant, container_id)
            if context.idempotency_key in before.calls:
                # An earlier attempt of this call has run it, and its worker died.
                return before.calls[context.idempotency_key]
            ran = await run_code(self._sandbox, code, before.state, folder)
            logs = ran.logs
            if before.state is None and not states.is_begun_by(container_id, context.response_id):
                logs = LOST + logs
                if before.is_sealed:
                    # A client may have named the container in an item. Another tenant's state is not touched.
                    return logs
            if ran.state is None or await states.keep_after(
                context.tenant,
                container_id,
                before.version,
                call_key=context.idempotency_key,
                logs=logs,
                state=ran.state,
                calls=before.calls,
            ):
                return logs
        raise RuntimeError(f"other calls keep changing container {container_id}")


def _file_ids(call: BuiltInRun) -> list[str]:
    container = call.settings.get("container")
    given = container.get("file_ids") if isinstance(container, dict) else None
    return [file_id for file_id in given if isinstance(file_id, str)] if isinstance(given, list) else []
