"""Checks the `container` of a `code_interpreter` that this server runs, before anything starts."""

from __future__ import annotations

import asyncio

from api.app_state import AppState
from api.containers.access import containers_of
from open_responses.errors import InvalidRequest, NotFound
from open_responses.io.store.containers import Containers
from open_responses.json_types import JsonObject
from open_responses.schema.container_bodies import MOST_NAMED
from open_responses.schema.tools import ProviderTool
from open_responses.schema.validation import shorten
from open_responses.tool_use.built_in import built_in_of
from open_responses.tool_use.code_functions import CODE_INTERPRETER

_MEMORY = ("1g", "4g", "16g", "64g")


async def check_containers(state: AppState, tenant: str, tools: list[tuple[int, ProviderTool]]) -> None:
    """Raises InvalidRequest for a container that the tool cannot have. `tools` are those that this server runs, with
    their indexes in the request."""
    table = state.settings.config.code_interpreter
    for index, tool in tools:
        row = built_in_of(tool.type)
        if row is None or row.name != CODE_INTERPRETER or table is None:
            continue
        field = f"tools[{index}].container"
        container = (tool.model_extra or {}).get("container")
        if isinstance(container, str):
            await _check_exists(containers_of(state), tenant, container, field)
        elif isinstance(container, dict):
            _check_new(container, field)
            await _check_files(state, tenant, container.get("file_ids"), table.max_files_mb, f"{field}.file_ids")
        else:
            raise InvalidRequest(
                f"{field!r} is missing or no container. Send {{'type': 'auto'}}, or the id of a container.",
                param=field,
                code="invalid_type" if container is not None else "missing_required_parameter",
            )


async def _check_exists(containers: Containers, tenant: str, container: str, field: str) -> None:
    try:
        exists = await containers.exists(tenant, container)
    except ValueError:
        exists = False
    if not exists:
        raise InvalidRequest(
            f"{field!r}: there is no container {shorten(container)!r}. It has expired, or its response was deleted. "
            "Send {'type': 'auto'} for a new one.",
            param=field,
            code="invalid_value",
        )


def _check_new(container: JsonObject, field: str) -> None:
    if container.get("type") != "auto":
        raise InvalidRequest(f"{field + '.type'!r} must be 'auto'.", param=f"{field}.type", code="invalid_value")
    if container.get("memory_limit") not in (None, *_MEMORY):
        raise InvalidRequest(
            f"{field + '.memory_limit'!r} must be one of {', '.join(_MEMORY)}.",
            param=f"{field}.memory_limit",
            code="invalid_value",
        )
    policy = container.get("network_policy")
    if policy is not None and not (isinstance(policy, dict) and policy.get("type") == "disabled"):
        raise InvalidRequest(
            f"{field + '.network_policy'!r}: code of this server's interpreter has no network. Send "
            "{'type': 'disabled'}, or leave it out.",
            param=f"{field}.network_policy",
            code="unsupported_parameter",
        )


async def _check_files(state: AppState, tenant: str, file_ids: object, most_mb: int, field: str) -> None:
    """Raises NotFound for a file that the tenant does not have, and InvalidRequest for files that are too many, or too
    large together."""
    if file_ids is None:
        return
    if not isinstance(file_ids, list) or not all(isinstance(file_id, str) for file_id in file_ids):
        raise InvalidRequest(f"{field!r} must be an array of strings.", param=field, code="invalid_type")
    if len(file_ids) > MOST_NAMED:
        raise InvalidRequest(f"{field!r} may name {MOST_NAMED} files.", param=field, code="invalid_value")
    found = await asyncio.to_thread(state.folder.files.get_all, file_ids, tenant) if file_ids else {}
    missing = next((file_id for file_id in file_ids if file_id not in found), None)
    if missing is not None:
        raise NotFound(f"File with id {missing[:80]!r} not found.", param=field)
    if sum(file.bytes for file in found.values()) > most_mb * 2**20:
        raise InvalidRequest(
            f"{field!r}: the files are together larger than {most_mb} MiB, the most that code may read. Name fewer or "
            "smaller files.",
            param=field,
            code="invalid_value",
        )
