"""Calls of the code interpreter without a server: the engine on a folder, and what its results hold."""

from __future__ import annotations

import io
from pathlib import Path
from typing import cast

from activities.tool_calls.code_folders import CodeFolders
from activities.tools.code_interpreter.code import EmbeddedPython
from activities.tools.code_interpreter.engine import CodeInterpreter
from activities.tools.code_interpreter.sandbox import MIB, Limits, Sandbox
from open_responses.config_tables.files import FilesConfig
from open_responses.contracts import ToolContext
from open_responses.io.files.catalog import Catalog
from open_responses.io.files.file_store import FileStore
from open_responses.io.files.folder_mark import FolderMark
from open_responses.io.sealing import Sealer
from open_responses.io.store.containers import Containers
from open_responses.io.temporal.payload_keys import ResponseKeys
from open_responses.json_types import JsonObject
from open_responses.tool_use.built_in_engine import BuiltInResult, BuiltInRun

LIMITS = Limits(seconds=0.5, memory_bytes=24 * MIB, output_bytes=2000, state_bytes=MIB, written_bytes=MIB)
MOST_BYTES = 2 * MIB


def containers_in(folder: Path, *, idle_seconds: float = 60, call_seconds: float = 0) -> Containers:
    keys = ResponseKeys(folder / "keys")
    return Containers(folder, Sealer([b"k" * 32]), keys, idle_seconds=idle_seconds, call_seconds=call_seconds)


def content_of(containers: Containers, container_id: str, name: str, tenant: str = "acme") -> bytes:
    plain = io.BytesIO()
    containers.copy_content(tenant, container_id, name, plain)
    return plain.getvalue()


def files_in(folder: Path) -> FileStore:
    return FileStore(folder / "files", Catalog(FolderMark(folder / "files", "sqlite")))


def upload(files: FileStore, name: str, data: bytes, tenant: str = "acme") -> str:
    """A file of `/v1/files`. Returns its id."""
    started = files.begin(tenant, len(data), FilesConfig())
    started.incoming.write(data)
    file = files.described(started.file_id, tenant, name, "user_data", len(data), None)
    files.complete(started.incoming, file, FilesConfig())
    files.end(started)
    return started.file_id


def interpreter(sandbox: Sandbox, containers: Containers, files: FileStore) -> CodeInterpreter:
    return CodeInterpreter(EmbeddedPython(sandbox), containers, folders_in(files, containers))


def folders_in(files: FileStore, containers: Containers, *, most_tenant_bytes: int = 100 * MOST_BYTES) -> CodeFolders:
    return CodeFolders(files, containers, most_bytes=MOST_BYTES, most_tenant_bytes=most_tenant_bytes)


def code_call(
    code: object,
    container_id: str,
    key: str,
    response_id: str = "resp_x",
    tenant: str = "acme",
    settings: JsonObject | None = None,
) -> BuiltInRun:
    context = ToolContext(
        response_id=response_id,
        call_id=key,
        tool="code_interpreter",
        tenant=tenant,
        attempt=1,
        arguments={"code": code},
    )
    return BuiltInRun(
        context=context,
        function="code_interpreter",
        arguments={"code": code},
        settings=settings or {},
        item={"type": "code_interpreter_call", "id": "ci_1", "container_id": container_id},
    )


def logs_of(result: BuiltInResult) -> str:
    outputs = cast(list[JsonObject], result.item["outputs"])
    return "".join(str(one["logs"]) for one in outputs)
