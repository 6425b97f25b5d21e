"""The API and a worker in one process and one event loop, for small deployments: `python -m open_responses serve`.

Both share a connection to Temporal, so the first workflow task of a response comes with the answer to its start. Events
take their way over Redis, as between two processes: another worker can take over the work of this one, and another API
can go on with a stream. If one half ends, the process does: an API without its worker would look alive.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import os
import signal
import socket
import sys
from typing import NoReturn

import structlog
import uvicorn

import workflows
from api.application import Host as ApiHost
from api.application import create_asgi
from api.connections.uvicorn_protocols import ServerWithoutSignals
from api.server import uvicorn_options
from open_responses.io.background import end_tasks
from open_responses.io.listening import listening_socket
from open_responses.io.logs import configure_logs
from open_responses.io.metrics.exposition import SdkMetrics
from open_responses.io.sealing import configured_keys
from open_responses.io.settings import ConfigError, Settings, load_settings
from open_responses.io.telemetry.export import export_spans
from open_responses.io.temporal.client import connect, share_connection
from processes.worker import Host as WorkerHost
from processes.worker import run_worker

log = structlog.get_logger("serve")

# Beside the API's own graceful period.
_SLACK_SECONDS = 2.0


class ApiFailed(Exception):
    """The API ended before it was asked to."""


def run(given: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code: 0 after a signal, 1 with one line after an error."""
    # The command line, which this runs under, ends at a broken pipe. A server meets one whenever a client leaves.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    if not hasattr(workflows, "OURS"):
        _say(f"imported another package 'workflows', {workflows.__file__}: start this program from the project's root")
        return 1
    try:
        settings = load_settings()
        listener = listening_socket(given)
    except ConfigError as error:
        _say(str(error))
        return 1
    except OSError as error:
        _say(f"cannot listen at {given.host}, port {given.port} ({error.strerror}): choose another with --port")
        return 1
    loop_factory = uvicorn.Config("", **uvicorn_options(given)).get_loop_factory()
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(_Process(settings, given).run(listener))
    except (ConfigError, ValueError) as error:
        _say(str(error))
    except ApiFailed:
        _say("the API ended. Look for api_failed in its log")
    except Exception:  # the process's border; a traceback would quote messages, which may hold what users said
        log.exception("serve_failed")
        _say("an unexpected error ended this process. Look for serve_failed in its log")
    else:
        return 0
    return 1


class _Process:
    """Both halves, and the end of both when one ends."""

    def __init__(self, settings: Settings, given: argparse.Namespace) -> None:
        self._settings = settings
        self._options = uvicorn_options(given)
        self._stopping = asyncio.Event()
        self._failing = asyncio.Event()
        self._sdk_metrics = SdkMetrics()

    async def run(self, listener: socket.socket) -> None:
        """Serve to the end. Raises ApiFailed, and what the worker raises where it cannot start."""
        settings = self._settings
        configure_logs(messages=settings.log_messages)
        traces = export_spans(os.environ, service="open-responses", instance=settings.worker_id)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stopping.set)
        temporal = await connect(settings.blobs, encryption_keys=configured_keys(settings.encryption_keys), lazy=True)
        app = create_asgi(settings, ApiHost(temporal, self._sdk_metrics))
        server = ServerWithoutSignals(uvicorn.Config(app, **self._options))
        api = asyncio.create_task(_serve_api(server, listener))

        async def give_up() -> NoReturn:
            await self._ended(server, api)
            _say("an unexpected error ended this process. Look for worker_failed in its log")
            os._exit(1)

        connected = functools.partial(share_connection, temporal)
        host = WorkerHost(self._stopping, self._failing, give_up, self._measured, connected)
        worker = asyncio.create_task(run_worker(settings, host))
        ends = [asyncio.create_task(event.wait()) for event in (self._stopping, self._failing)]
        await asyncio.wait({api, worker, *ends}, return_when=asyncio.FIRST_COMPLETED)
        has_failed = api.done()
        if has_failed:
            log.error("api_failed", exc_info=api.exception())
        self._stopping.set()
        server.should_exit = True
        await asyncio.wait({worker})
        await self._ended(server, api)
        await end_tasks(ends)
        if traces is not None:
            await asyncio.to_thread(traces.close)
        worker.result()
        if has_failed or not api.done() or api.exception() is not None:
            raise ApiFailed

    async def _ended(self, server: uvicorn.Server, api: asyncio.Task[None]) -> None:
        """Let answers end for the graceful period, and no longer."""
        server.should_exit = True
        await asyncio.wait({api}, timeout=self._options["timeout_graceful_shutdown"] + _SLACK_SECONDS)

    def _measured(self) -> SdkMetrics | None:
        """Temporal's SDK measures if somebody reads it."""
        is_read = self._settings.api_metrics_port or self._settings.worker_metrics_port
        return self._sdk_metrics if is_read else None


async def _serve_api(server: uvicorn.Server, listener: socket.socket) -> None:
    try:
        await server.serve(sockets=[listener])
    except SystemExit as error:
        # uvicorn has logged the reason. The exception itself would end the event loop with the worker in it.
        raise ApiFailed from error


def _say(line: str) -> None:
    print(f"serve: {line}", file=sys.stderr, flush=True)
