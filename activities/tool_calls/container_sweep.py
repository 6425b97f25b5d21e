"""Removes containers of the code interpreter that have expired, once a minute."""

from __future__ import annotations

import asyncio

import structlog

from activities.tool_calls.built_in import BuiltInToolActivity
from activities.tools.code_interpreter.engine import CodeInterpreter
from open_responses.tool_use.code_functions import CODE_INTERPRETER

log = structlog.get_logger(__name__)

_PAUSE_SECONDS = 60.0


async def sweep_containers(built_in: BuiltInToolActivity) -> None:
    """Sweep until cancelled, by the configuration that is in force. A folder that cannot be read is logged."""
    while True:
        engine = built_in.engines.get(CODE_INTERPRETER)
        if isinstance(engine, CodeInterpreter):
            try:
                removed = await asyncio.to_thread(engine.containers.sweep)
            except OSError as error:
                log.warning("containers_not_swept", reason=str(error))
            else:
                if removed:
                    log.info("containers_swept", removed=removed)
        await asyncio.sleep(_PAUSE_SECONDS)
