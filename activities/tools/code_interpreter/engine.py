"""The engine of `code_interpreter`: runs a call's code on the state of its container, exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar
from weakref import WeakValueDictionary

from activities.tools.code_interpreter.code import LOST, Python, joined, unchanged
from activities.tools.code_interpreter.sandbox import Slots
from open_responses.contracts import ToolError
from open_responses.tool_use.built_in_engine import BuiltInResult, BuiltInRun
from open_responses.tool_use.code_functions import INPUT_FILES
from open_responses.tool_use.container_files import (
    FOLDER,
    ContainerCall,
    ContainerFile,
    ContainerState,
    FileGone,
    FilesRefused,
)

_LONGEST_CODE = 100_000
_TRIES = 8
# Of the files that one call has written.
_MOST_CITED = 50
_HOW_TO_GIVE = (
    "To give a file to the user, write its mark in 【 】 exactly as it stands here, at the place where the link to the "
    "file belongs. Write no link of your own."
)
_NOTHING = "(The code ran and printed nothing. Use print() to see values.)"


class Containers(Protocol):
    """The containers (`open_responses/io/store/containers.py`)."""

    async def begin(self, tenant: str, container_id: str) -> ContainerState:
        """The container, which does not expire while a call runs; an empty one if there is none."""
        ...

    async def keep_after(
        self,
        tenant: str,
        container_id: str,
        before: ContainerState,
        *,
        call_key: str,
        call: ContainerCall,
        state: bytes,
        files: Sequence[ContainerFile],
    ) -> bool:
        """Write the container after a call. Returns False if another change came since `before` was read."""
        ...

    def is_begun_by(self, container_id: str, response_id: str) -> bool:
        """Whether the container began in this response."""
        ...

    def sweep(self) -> int:
        """Remove containers that have expired. Returns how many. It blocks."""
        ...


class Changes(Protocol):
    """A container's files after a run, and those among them that it has written."""

    @property
    def files(self) -> Sequence[ContainerFile]: ...
    @property
    def written(self) -> Sequence[ContainerFile]: ...


class Folder(Protocol):
    """The folder of one run (`activities/tool_calls/code_folders.py`)."""

    @property
    def path(self) -> Path: ...

    async def changes(self) -> Changes:
        """Read back what the code has left. Raises FilesRefused."""
        ...

    async def discard(self) -> None:
        """Forget the contents that `changes` has kept."""
        ...


FoundFolder = TypeVar("FoundFolder", bound=Folder, covariant=True)


class Folders(Protocol[FoundFolder]):
    """Makes the folders."""

    def folder(
        self, tenant: str, container_id: str, kept: Sequence[ContainerFile], lent: Sequence[str]
    ) -> AbstractAsyncContextManager[FoundFolder]:
        """A folder with these files of the container, and these of `/v1/files`. Raises FileGone."""
        ...


@dataclass(frozen=True, slots=True)
class _Done:
    """What a call has printed, and the files that it has written."""

    logs: str
    written: Sequence[ContainerFile] = ()


class CodeInterpreter:
    """The engine. One object serves all calls of a worker.

    Args:
        python: Runs the code.
        containers: The containers.
        folders: Makes the folders of the runs.
        slots: Bounds the calls at a time, each with the container's state and files in memory.
    """

    def __init__(
        self, python: Python, containers: Containers, folders: Folders[Folder], slots: Slots | None = None
    ) -> None:
        self._python = python
        self._slots = slots or Slots()
        self.containers = containers
        self._folders = folders
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
        # The files are opened and sealed within the slot: calls that wait for one hold no bytes.
        async with lock, self._slots.one():
            done = await self._done(call, code, container_id)
        shown = [{"type": "logs", "logs": done.logs}] if done.logs else []
        item = {"code": code, "container_id": container_id, "outputs": shown}
        cited = done.written[:_MOST_CITED]
        citations = [
            {
                "type": "container_file_citation",
                "container_id": container_id,
                "file_id": file.id,
                "filename": file.path,
            }
            for file in cited
        ]
        return BuiltInResult(
            output=(done.logs or _NOTHING) + _listed(call, done.written),
            item=item,
            citations=citations,
            how_to_cite=_HOW_TO_GIVE,
        )

    async def close(self) -> None:
        """End the processes."""
        await self._python.close()

    async def _done(self, call: BuiltInRun, code: str, container_id: str) -> _Done:
        """Run the code, and once more on the newer state if another change of the container came first: the code has
        no effect but on the container."""
        context, broken = call.context, None
        for _ in range(_TRIES):
            before = await self.containers.begin(context.tenant, container_id)
            earlier = before.calls.get(context.idempotency_key)
            if earlier is not None:
                # An earlier attempt of this call has run it, and its worker died.
                return _Done(earlier.logs, [file for file in before.files if file.id in earlier.written])
            if before.version == broken:
                # Nobody has replaced the content: it is lost, and the other files are not.
                before = replace(before, files=[file for file in before.files if file.content is None])
            try:
                done = await self._attempt(call, code, container_id, before)
            except FileGone:
                broken = before.version
                continue
            if done is not None:
                return done
        raise RuntimeError(f"other calls keep changing container {container_id}")

    async def _attempt(self, call: BuiltInRun, code: str, container_id: str, before: ContainerState) -> _Done | None:
        """Run the code on a state. Returns None if another change of the container came first."""
        context, containers = call.context, self.containers
        async with self._folders.folder(context.tenant, container_id, before.files, _file_ids(call)) as folder:
            ran = await self._python.run(code, before.state, folder.path)
            logs = ran.logs
            is_known = before.exists or containers.is_begun_by(container_id, context.response_id)
            if before.state is None and not is_known:
                logs = LOST + logs
            if before.is_sealed or ran.state is None:
                # A client may have named the container in an item. What another tenant has there stays.
                return _Done(logs)
            try:
                changes = await folder.changes()
            except FilesRefused as refused:
                return _Done(unchanged(joined(logs, str(refused))))
            is_kept = await containers.keep_after(
                context.tenant,
                container_id,
                before,
                call_key=context.idempotency_key,
                call=ContainerCall(logs, [file.id for file in changes.written]),
                state=ran.state,
                files=changes.files,
            )
            if not is_kept:
                # After an exception they stay until they are old: the version that lists them may be on disk.
                await folder.discard()
                return None
            return _Done(logs, changes.written)


def _listed(call: BuiltInRun, written: Sequence[ContainerFile]) -> str:
    """The lines about the files that the code has written, each with its mark."""
    if not written:
        return ""
    lines = [
        f"{call.mark(index)} {FOLDER}/{file.path} ({file.bytes} bytes)"
        for index, file in enumerate(written[:_MOST_CITED])
    ]
    more = len(written) - len(lines)
    return "\n\nFiles written:\n" + "\n".join([*lines, *([f"and {more} more"] if more else [])])


def _file_ids(call: BuiltInRun) -> list[str]:
    """The files of `/v1/files` that the request names: for the container, and in its input."""
    container, given = call.settings.get("container"), list[object]()
    if isinstance(container, dict) and isinstance(container.get("file_ids"), list):
        given += container["file_ids"]
    of_input = call.settings.get(INPUT_FILES)
    if isinstance(of_input, list):
        given += of_input
    return [file_id for file_id in given if isinstance(file_id, str)]
