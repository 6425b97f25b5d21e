"""One of our processes with the times of its steps: `python -m benchmarks.parts.timed FILE (api|worker) ARGUMENT…`.

It wraps the functions below, so the product has no code for it and pays nothing. Each call is a line in FILE:
`[name, begin, end]`, in nanoseconds of the machine's monotonic clock, which all processes share. Only one response at a
time makes sense of them: the lines do not say which response they are for.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

# Module, attribute, name of the step.
_IN_BOTH = (
    ("redis.asyncio.client", "Redis.execute_command", "Redis: {first}"),
    ("redis.asyncio.client", "Pipeline.execute", "Redis: pipeline of {commands}"),
    ("open_responses.io.temporal.sdk_client", "DelegatingServiceClient._rpc_call", "Temporal: {rpc}"),
)
_IN_API = (
    ("api.dependencies", "caller_of", "key checked"),
    ("api.responses.parse", "read_object", "body read"),
    ("api.responses.parse", "validate_create_response", "body validated"),
    ("api.responses.create", "authorize", "authorized"),
    ("api.responses.create", "find_repeated", "repeated request looked up"),
    ("api.responses.prepare", "check_room", "room checked"),
    ("api.responses.prepare", "resolve", "resolved"),
    ("api.responses.prepare", "validate", "validated"),
    ("api.responses.prepare", "start_of", "start built"),
    ("api.admission.limits", "Admission.admit", "limits checked"),
    ("api.responses.create", "prepare", "PREPARED"),
    ("open_responses.io.log.reader", "Messages.subscribed", "subscribed to the log"),
    ("open_responses.io.store.redis_store", "ResponseStore.begin", "request stored"),
    ("api.responses.create", "start_response", "STARTED"),
    ("api.streaming.follower", "read_page", "log read"),
)
_IN_WORKER = (
    ("temporalio.worker._workflow", "_WorkflowWorker._handle_activation", "WORKFLOW TASK"),
    ("temporalio.bridge.worker", "decode_activation", "its payloads decoded"),
    ("temporalio.worker._workflow", "_RunningWorkflow.activate", "workflow code"),
    ("temporalio.bridge.worker", "encode_completion", "its payloads encoded"),
    ("temporalio.bridge.worker", "Worker.complete_workflow_activation", "Temporal: workflow task completed"),
    ("temporalio.worker._activity", "_ActivityWorker._handle_start_activity_task", "ACTIVITY {activity}"),
    ("temporalio.bridge.worker", "Worker.complete_activity_task", "Temporal: activity completed"),
    ("activities.sampling.context", "Contexts.load", "context loaded"),
    ("activities.sampling.attempt", "fence_for_attempt", "log fenced"),
    ("open_responses.io.redis.breaker", "Breaker.ask", "breaker asked"),
    ("activities.sampling.attempt", "AttemptRun._open", "attempt opened"),
    ("activities.sampling.attempt", "begin", "call built"),
    ("activities.sampling.attempt", "reserve", "budget reserved"),
    ("httpx", "AsyncClient.send", "provider: request to the answer's headers"),
    ("activities.sampling.call_times", "CallTimes.came", "provider: delta"),
    ("open_responses.io.log.appender", "Appender._send", "Redis: append"),
    ("activities.lifecycle.finish", "FinishActivity.finish", "finish"),
)


def _wrap(path: tuple[str, str, str], note: Callable[[str, int, int], None]) -> None:
    module, attribute, name = path
    holder: Any = importlib.import_module(module)
    *owners, last = attribute.split(".")
    for owner in owners:
        holder = getattr(holder, owner)
    inner = getattr(holder, last)

    if inspect.iscoroutinefunction(inner):

        @functools.wraps(inner)
        async def timed(*args: Any, **options: Any) -> Any:
            shown, begin = _named(name, args, options), time.monotonic_ns()
            try:
                return await inner(*args, **options)
            finally:
                note(shown, begin, time.monotonic_ns())

    else:

        @functools.wraps(inner)
        def timed(*args: Any, **options: Any) -> Any:
            shown, begin = _named(name, args, options), time.monotonic_ns()
            try:
                return inner(*args, **options)
            finally:
                note(shown, begin, time.monotonic_ns())

    setattr(holder, last, timed)


def _named(name: str, args: tuple[Any, ...], options: Mapping[str, Any]) -> str:
    if "{" not in name:
        return name
    return name.format(
        first=args[1] if len(args) > 1 else "",
        rpc=options.get("rpc"),
        commands=len(getattr(args[0], "command_stack", ())),
        activity=getattr(args[2], "activity_type", "") if len(args) > 2 else "",
    )


class _Lines:
    """Appends the steps to a file: each at once, so that the reader finds all of a response that has ended."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def note(self, name: str, begin: int, end: int) -> None:
        self._file.write(json.dumps([name, begin, end]) + "\n")
        self._file.flush()


class _TimedHttp:
    """The ASGI application, with the time of each request, and of what is sent."""

    def __init__(self, app: Any, note: Callable[[str, int, int], None]) -> None:
        self._app = app
        self._note = note

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != "/v1/responses":
            await self._app(scope, receive, send)
            return
        self._mark("request received")

        async def timed_send(message: Any) -> None:
            body = message.get("body", b"")
            begin = time.monotonic_ns()
            await send(message)
            name = "headers" if message["type"] == "http.response.start" else _event_in(body)
            if name is not None:
                self._note(f"sent to the client: {name}", begin, time.monotonic_ns())

        await self._app(scope, receive, timed_send)

    def _mark(self, name: str) -> None:
        now = time.monotonic_ns()
        self._note(name, now, now)


def _event_in(body: bytes) -> str | None:
    for name in ("response.created", "response.output_text.delta", "response.completed"):
        if f"event: {name}\n".encode() in body:
            return name
    return None


def main(file: Path, process: str, arguments: list[str]) -> None:
    """Run the process to its end."""
    lines = _Lines(file.open("a", encoding="utf-8"))
    sys.argv = [process, *arguments]
    if process == "worker":
        import worker

        for path in (*_IN_BOTH, *_IN_WORKER):
            _wrap(path, lines.note)
        worker.run()
    else:
        import api.__main__ as served
        import api.main

        for path in (*_IN_BOTH, *_IN_API):
            _wrap(path, lines.note)
        api.main.app = _TimedHttp(api.main.app, lines.note)  # type: ignore[assignment]
        served.main()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
