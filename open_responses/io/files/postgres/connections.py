"""Connections to PostgreSQL: few, shared by the threads of a process, and with a bound on every wait.

What this prevents: a database that is away, or silent, would hold the threads in which a process does all of its
blocking work. A server that ends a statement by its own clock does not help if the server itself is stopped. So each
use of a connection has a deadline here too, after which its socket is closed. While the database does not answer, one
thread at a time tries; the others fail at once.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool, PoolTimeout

from open_responses.io.files import catalog_owner
from open_responses.io.files.folder_mark import FolderMark
from open_responses.io.files.postgres.schema import SCHEMA, Mismatch, has_table, make_schema, search_path
from open_responses.io.files.storage import Result, StorageAway

_MOST_CONNECTIONS = 8
"""Of one process. Its threads are about as many."""
_CONNECT_SECONDS = 3
_STATEMENT_SECONDS = 20
_USE_SECONDS = 30.0
"""The longest use of a connection, in which a few statements run."""
_IDLE_SECONDS = 300.0
_LIFE_SECONDS = 3600.0
_AWAY = "PostgreSQL does not answer"

# What a server without an answer costs a connection that waits for one, where the kernel of the other side is gone.
_KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 15_000}


class DatabaseRow:
    """One row, with its columns by position and by name."""

    __slots__ = ("_places", "_values")

    def __init__(self, values: Sequence[Any], places: dict[str, int]) -> None:
        self._values = values
        self._places = places

    def __getitem__(self, key: Any) -> Any:
        return self._values[self._places[key] if isinstance(key, str) else key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)


Driver: TypeAlias = psycopg.Connection[DatabaseRow]


def _rows(cursor: psycopg.Cursor[Any]) -> Callable[[Sequence[Any]], DatabaseRow]:
    places = {column.name: place for place, column in enumerate(cursor.description or ())}
    return lambda values: DatabaseRow(values, places)


class DatabaseConnection:
    """Runs statements with `?` in the place of each value."""

    def __init__(self, connection: Driver) -> None:
        self.driver = connection

    def execute(self, statement: str, values: Sequence[object] = (), /) -> Result:
        """Run one statement. A text for PostgreSQL has no NUL: it is replaced."""
        return self.driver.execute(statement.replace("?", "%s").encode(), [storable(value) for value in values])

    def execute_many(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Run one statement for each row of values."""
        with self.driver.cursor() as cursor:
            cursor.executemany(
                statement.replace("?", "%s").encode(), [[storable(value) for value in row] for row in rows]
            )


def storable(value: object) -> object:
    """A value that PostgreSQL takes."""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) and "\0" in value else value


class Database:
    """The connections of one process. They are opened at need, and the first of them makes or renews the schema.

    With a mark, a database that is another folder's is refused with FolderDiffers.
    """

    def __init__(self, address: str, mark: FolderMark | None = None) -> None:
        self._address = address
        self._mark = mark
        self._pool = ConnectionPool(
            address,
            connection_class=Driver,
            kwargs={**_options(), "row_factory": _rows, "autocommit": True, "prepare_threshold": None},
            min_size=0,
            max_size=_MOST_CONNECTIONS,
            open=False,
            configure=self._configure,
            timeout=_CONNECT_SECONDS,
            reconnect_timeout=_CONNECT_SECONDS,
            max_idle=_IDLE_SECONDS,
            max_lifetime=_LIFE_SECONDS,
            num_workers=1,
        )
        self._start = threading.Lock()
        self._is_ready = False
        self._trying = threading.Lock()
        self._is_away = False
        self._deadlines = _Deadlines()
        self._search_path: list[str] = []
        self.vector_version: tuple[int, ...] = ()

    @contextmanager
    def connection(self, *, seconds: float | None = None) -> Iterator[DatabaseConnection]:
        """A connection, each statement of which is committed at once. Raises StorageAway."""
        driver = self._reached()
        try:
            with self._noting_outages(), self._deadlines.of(driver, _USE_SECONDS if seconds is None else seconds):
                yield DatabaseConnection(driver)
        except BaseException:
            # An answer may be on its way.
            if driver.info.transaction_status != TransactionStatus.IDLE:
                driver.close()
            raise
        finally:
            self._pool.putconn(driver)

    @contextmanager
    def transaction(self, alone: str | None = None, *, seconds: float | None = None) -> Iterator[DatabaseConnection]:
        """A connection in a transaction. Those with the same `alone` follow each other. Raises StorageAway."""
        with self.connection(seconds=seconds) as connection, connection.driver.transaction():
            if alone is not None:
                connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", (alone,))
            yield connection

    def check(self) -> None:
        """Whether the database can be used. Makes nothing. Raises StorageAway, with the reason."""
        if self._is_ready:
            with contextlib.suppress(StorageAway), self.connection() as connection:
                connection.execute("SELECT 1")
                return
        # Apart from the pool, whose errors do not say why.
        with _errors(), self._connect() as connection:
            make_schema(connection, only_check=True)
            if self._mark is not None and not has_table(connection, "files"):
                catalog_owner.check_new(self._mark)
            self._check_owner(connection)

    def close(self) -> None:
        """Close the connections."""
        self._deadlines.close()
        if self._is_ready:
            self._pool.close(timeout=1)

    def _reached(self) -> Driver:
        """A connection to lend. While the database is away, one thread at a time tries, until one has an answer."""
        if not self._is_away:
            return self._opened(tries=False)
        if not self._trying.acquire(blocking=False):
            raise _Unreachable(_AWAY)
        try:
            driver = self._opened(tries=True)
            self._is_away = False
            return driver
        finally:
            self._trying.release()

    def _opened(self, *, tries: bool) -> Driver:
        with self._noting_outages():
            self._prepare(tries=tries)
            driver = self._lent()
            try:
                if tries:
                    # An idle connection looks alive while the server is stopped.
                    with self._deadlines.of(driver, _CONNECT_SECONDS):
                        driver.execute("SELECT 1")
            except BaseException:
                driver.close()
                self._pool.putconn(driver)
                raise
            return driver

    @contextmanager
    def _noting_outages(self) -> Iterator[None]:
        try:
            with _errors():
                yield
        except _Unreachable:
            self._is_away = True
            raise

    def _prepare(self, *, tries: bool) -> None:
        """Before the first use in this process: the schema, and where the types of pgvector are."""
        if self._is_ready:
            return
        with self._start:
            if self._is_ready:
                return
            if self._is_away and not tries:
                # Found by the thread that had the lock before.
                raise _Unreachable(_AWAY)
            with self._noting_outages(), self._connect() as connection:
                self.vector_version = make_schema(connection, then=lambda: self._take(connection))
                self._search_path = search_path(connection)
            self._pool.open(wait=False)
            self._is_ready = True

    def _connect(self) -> Driver:
        """Apart from the pool."""
        return Driver.connect(self._address, **_options(), row_factory=_rows, autocommit=True)

    def _take(self, connection: Driver) -> None:
        if self._mark is not None:
            catalog_owner.take(DatabaseConnection(connection), self._mark)

    def _check_owner(self, connection: Driver) -> None:
        if self._mark is not None and has_table(connection, "folder"):
            found = connection.execute(f"SELECT id FROM {SCHEMA}.folder".encode()).fetchone()
            if found is not None:
                catalog_owner.check_owner(found[0], self._mark)

    def _configure(self, connection: Driver) -> None:
        # The address may lead to another server since the start.
        self._check_owner(connection)
        names = sql.SQL(", ").join(sql.Identifier(name) for name in self._search_path)
        connection.execute(sql.SQL("SET search_path TO {}").format(names))
        connection.execute(f"SET statement_timeout TO {_STATEMENT_SECONDS * 1000}".encode())

    def _lent(self) -> Driver:
        """A connection that was not closed by the other side while it was idle."""
        while True:
            try:
                driver = self._pool.getconn()
            except PoolTimeout:
                if self._deadlines.number >= _MOST_CONNECTIONS:
                    raise StorageAway(f"all {_MOST_CONNECTIONS} connections to PostgreSQL are in use") from None
                raise
            if not driver.closed and not _has_news(driver):
                return driver
            driver.close()
            self._pool.putconn(driver)


def _has_news(driver: Driver) -> bool:
    """Whether the server has sent something to a connection that asks for nothing: that it ends."""
    polled = select.poll()
    polled.register(driver.fileno(), select.POLLIN)
    return bool(polled.poll(0))


class _Deadlines:
    """Closes the sockets of connections that are used for too long."""

    _LOOK_SECONDS = 1.0

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used: dict[int, tuple[float, Driver]] = {}
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()

    @property
    def number(self) -> int:
        """The connections in use."""
        return len(self._used)

    @contextmanager
    def of(self, driver: Driver, seconds: float) -> Iterator[None]:
        """Within: a connection whose use is bounded. Raises StorageAway if it took too long."""
        with self._lock:
            self._used[id(driver)] = (time.monotonic() + seconds, driver)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="postgres deadlines", daemon=True)
                self._thread.start()
        try:
            yield
        except psycopg.Error as error:
            with self._lock:
                was_cut = id(driver) not in self._used
            if was_cut:
                # By this process: the database may answer others.
                raise StorageAway(f"PostgreSQL: not done within {seconds:g} s") from error
            raise
        finally:
            with self._lock:
                self._used.pop(id(driver), None)

    def close(self) -> None:
        """End the thread, and what still waits: the build of a large index would hold up the end of the process."""
        self._closing.set()
        with self._lock:
            for _, driver in self._used.values():
                _cut(driver)

    def _run(self) -> None:
        while not self._closing.wait(self._LOOK_SECONDS):
            with self._lock:
                now = time.monotonic()
                for key, (deadline, driver) in list(self._used.items()):
                    if now > deadline:
                        del self._used[key]
                        _cut(driver)


def _cut(driver: Driver) -> None:
    """End the connection under the thread that waits for its answer, which gets an error."""
    with contextlib.suppress(OSError, psycopg.Error):
        if not driver.closed:
            with socket.socket(fileno=os.dup(driver.fileno())) as copied:
                copied.shutdown(socket.SHUT_RDWR)


def _options() -> dict[str, Any]:
    return {"connect_timeout": _CONNECT_SECONDS, "application_name": "open_responses", **_KEEPALIVES}


class _Unreachable(StorageAway):
    """There is no connection, or it broke."""


@contextmanager
def _errors() -> Iterator[None]:
    """Errors of the driver as StorageAway. The driver's messages have no password."""
    try:
        yield
    except Mismatch as error:
        raise StorageAway(str(error)) from error
    except psycopg.Error as error:
        kind = _Unreachable if isinstance(error, psycopg.OperationalError) and _is_broken(error) else StorageAway
        raise kind(f"PostgreSQL: {_said(error)}") from error


def _is_broken(error: psycopg.Error) -> bool:
    """Not of a statement: the connection was refused or lost, or the server starts or stops."""
    return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))


def _said(error: psycopg.Error) -> str:
    if isinstance(error, psycopg.errors.InvalidSchemaName | psycopg.errors.UndefinedTable):
        return f"the tables in the schema {SCHEMA!r} are missing: restart the API and the workers, which make them"
    said = error.diag.message_primary or str(error)
    return " ".join(said.split())[:300] or type(error).__name__
