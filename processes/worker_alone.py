"""A worker in a process of its own: `python worker.py`."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
from typing import NoReturn

import structlog
import uvloop

import workflows
from open_responses.io.logs import configure_logs
from open_responses.io.settings import ConfigError, load_settings
from open_responses.io.telemetry.export import export_spans
from processes.worker import Host, run_worker, serve_worker_metrics

log = structlog.get_logger("worker")

_FAILED = "worker: an unexpected error ended this process. Look for worker_failed in its log"


def run() -> str | None:
    """Run until SIGTERM or SIGINT. Returns what `sys.exit` takes: the reason of a failure, or None."""
    if not hasattr(workflows, "OURS"):
        return f"imported another package 'workflows', {workflows.__file__}: start this program from the project's root"
    try:
        uvloop.run(_main())
    except (ConfigError, ValueError) as error:
        return f"worker: {error}"
    except Exception:  # the process's border; a traceback would quote messages, which may hold what users said
        log.exception("worker_failed")
        return _FAILED
    return None


async def _main() -> None:
    settings = load_settings()
    configure_logs(messages=settings.log_messages)
    traces = export_spans(os.environ, service="open-responses-worker", instance=settings.worker_id)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    serve_metrics = functools.partial(serve_worker_metrics, settings)
    await run_worker(settings, Host(stopping, asyncio.Event(), _exit_at_once, serve_metrics))
    if traces is not None:
        await asyncio.to_thread(traces.close)


async def _exit_at_once() -> NoReturn:
    """Without waiting for tasks that may ignore their cancellation."""
    os.write(2, f"{_FAILED}\n".encode())
    os._exit(1)
