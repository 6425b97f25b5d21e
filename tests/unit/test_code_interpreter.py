"""Code of a model runs in a process of its own, within limits, and ends as a text that the model reads."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from activities.tools.code_interpreter.code import Ran, run_code
from activities.tools.code_interpreter.last_value import with_last_value
from activities.tools.code_interpreter.sandbox import MIB, Busy, Limits, Sandbox, sandbox_of
from open_responses.config_tables.interpreter import CodeInterpreterConfig
from open_responses.contracts import ToolError
from open_responses.ids import new_id
from open_responses.io.files.file_store import FileStore
from open_responses.io.sealing import Sealer
from open_responses.io.store.containers import Containers, container_of, owner_of
from open_responses.io.temporal.erasure_marks import ErasureMarks
from open_responses.io.temporal.large_payloads import forget_payloads
from open_responses.io.temporal.payload_keys import ResponseKeys
from open_responses.tool_use.container_files import ContainerCall, ContainerState
from tests.support.code_calls import LIMITS, code_call, containers_in, files_in, interpreter, logs_of


@pytest_asyncio.fixture(scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    made = Sandbox(LIMITS, processes=2)
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("code", "printed"),
    [
        ("x = 41\nx + 1", "42\n"),
        ("print('a')\n(1,\n 2)  # both", "a\n(1, 2)\n"),
        ("class Point:\n    def __init__(self, x):\n        self.x = x\nPoint(3).x", "3\n"),
        ("x = 1", ""),
        ("# nothing", ""),
        ("if True:\n    5", ""),
        ("print('é🎉')", "é🎉\n"),
        ("import json\njson.loads('[1]')[0]", "1\n"),
        ("async def f():\n    return 7\nawait f()", "7\n"),
    ],
)
async def test_code_prints_and_shows_the_value_of_its_last_line(sandbox: Sandbox, code: str, printed: str) -> None:
    assert (await run_code(sandbox, code, None)).logs == printed


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("while True:\n    pass", "may run for 0.5 seconds"),
        ("try:\n    while True:\n        pass\nexcept BaseException:\n    print('caught')", "may run for 0.5 seconds"),
        ("import time\nwhile True:\n    time.sleep(0.2)", "0.5 seconds"),
        ("a = []\nwhile True:\n    a.append('x' * 1000)", "24 MiB of memory"),
        ("'x' * 10**9", "24 MiB of memory"),
        ("10 ** 10 ** 8", "24 MiB of memory"),
        ("def f(n):\n    return f(n + 1)\nf(0)", "RecursionError"),
        ("import socket", "No module named 'socket'"),
        ("import subprocess", "No module named 'subprocess'"),
        ("import numpy", "No module named 'numpy'"),
        ("import os\nos.fork()", "has no attribute 'fork'"),
        ("import os\nos.system('id')", "has no attribute 'system'"),
        ("open('/etc/passwd').read()", "Permission denied"),
        ("open('mine', 'w')", "Permission denied"),
        ("import os\nprint(os.environ)", "Error"),
        ("().__class__.__bases__[0].__subclasses__()", "AttributeError"),
        ("input()", "Error"),
        ("raise SystemExit('now')", "SystemExit"),
        ("x = (", "SyntaxError"),
        ("def f():\n    yield 1", "yield"),
        ("-" * 50_000 + "1", "Error"),
        ("\x00", "Error"),
        ("unknown(1)", "not defined"),
        ("class Slow:\n    def __repr__(self):\n        while True:\n            pass\nSlow()", "0.5 seconds"),
    ],
)
async def test_what_code_must_not_do_ends_as_an_output_that_says_so(sandbox: Sandbox, code: str, said: str) -> None:
    ran = await run_code(sandbox, code, None)
    assert ran.failed
    assert said in ran.logs, ran.logs
    assert len(ran.logs) < 6000


async def test_a_long_output_is_cut_and_says_so(sandbox: Sandbox) -> None:
    ran = await run_code(sandbox, "for i in range(20000):\n    print('é' * 10)", None)
    assert ran.logs.startswith("éééééééééé\n")
    assert "the rest is left out" in ran.logs
    assert len(ran.logs.encode()) < LIMITS.output_bytes + 200


async def test_a_value_as_large_as_the_memory_never_enters_the_worker(sandbox: Sandbox) -> None:
    """The event loop stays free while a loop runs, a process is killed and ten megabytes are printed."""
    longest, began = 0.0, asyncio.get_running_loop().time()

    async def watch() -> None:
        nonlocal longest, began
        while True:
            await asyncio.sleep(0.005)
            now = asyncio.get_running_loop().time()
            longest, began = max(longest, now - began), now

    watching = asyncio.create_task(watch())
    ran = await run_code(sandbox, "x = list(range(300_000))\nx", None)
    await run_code(sandbox, "while True:\n    pass", None)
    watching.cancel()
    assert "the rest is left out" in ran.logs
    # The loop that runs for half a second would show if it ran in this process.
    assert longest < LIMITS.seconds


async def test_variables_that_are_too_large_to_keep_leave_the_state_as_it_was(sandbox: Sandbox) -> None:
    first = await run_code(sandbox, "x = 1", None)
    assert first.state is not None
    second = await run_code(sandbox, "x = 'y' * 5_000_000", first.state)
    assert second.state is None
    assert "at most 1048576 are kept" in second.logs
    assert (await run_code(sandbox, "x", first.state)).logs == "1\n"


async def test_a_state_that_the_interpreter_cannot_load_is_none_and_the_output_says_so(sandbox: Sandbox) -> None:
    ran = await run_code(sandbox, "1 + 1", b"of another version")
    assert ran.logs == "[Variables and functions of earlier calls are gone.]\n2\n"
    assert ran.state is not None


async def test_an_error_behind_a_long_output_is_shown(sandbox: Sandbox) -> None:
    ran = await run_code(sandbox, "print('x' * 10_000)\n1 / 0", None)
    assert "the rest is left out" in ran.logs
    assert "ZeroDivisionError" in ran.logs


async def test_no_process_serves_two_runs_and_none_is_left(sandbox: Sandbox) -> None:
    pids = []
    for _ in range(2):
        async with sandbox.session() as session:
            await session.feed_run("1")
            pids.append(session.worker_pid)
    assert pids[0] != pids[1]


async def test_a_process_that_dies_in_a_run_is_an_output_and_the_next_run_has_another(sandbox: Sandbox) -> None:
    patient = Sandbox(Limits(seconds=60), processes=1)
    ran = asyncio.create_task(run_code(patient, "while True:\n    pass", None))
    async with asyncio.timeout(20):
        await _kill_interpreters(ran)
    outcome = await ran
    await patient.close()
    assert "process died" in outcome.logs
    assert outcome.state is None
    assert (await run_code(sandbox, "1 + 1", None)).logs == "2\n"


async def test_where_all_interpreters_are_busy_the_call_is_attempted_again_later() -> None:
    table = CodeInterpreterConfig(processes=1, run_seconds=1, timeout_seconds=12)
    made = sandbox_of(table)
    assert made.limits == Limits(
        seconds=1, memory_bytes=128 * MIB, output_bytes=100 * 1024, state_bytes=4 * MIB, written_bytes=0
    )
    busy = Sandbox(LIMITS, processes=1, wait_seconds=0.05)
    async with busy.session():
        with pytest.raises(Busy, match="no interpreter became free"):
            await run_code(busy, "1", None)
    await busy.close()


async def test_a_run_that_is_cancelled_leaves_no_process_and_gives_its_place_back(sandbox: Sandbox) -> None:
    running = [asyncio.create_task(run_code(sandbox, "import time\ntime.sleep(100)", None)) for _ in range(2)]
    async with asyncio.timeout(10):
        while len(_interpreters(os.getpid())) < 2:
            await asyncio.sleep(0.01)
    for one in running:
        one.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert (await run_code(sandbox, "1 + 1", None)).logs == "2\n"
    async with asyncio.timeout(10):
        while _interpreters(os.getpid()):
            await asyncio.sleep(0.01)


async def _kill_interpreters(until: asyncio.Task[Ran]) -> None:
    """Kill the interpreters of this process that have been there for a moment, until the run has ended."""
    seen: set[int] = set()
    while not until.done():
        for pid in seen & set(_interpreters(os.getpid())):
            os.kill(pid, signal.SIGKILL)
        seen = set(_interpreters(os.getpid()))
        await asyncio.sleep(0.1)


def _interpreters(parent: int) -> list[int]:
    """The interpreters that are children of a process."""
    found = []
    for task in Path(f"/proc/{parent}/task").iterdir():
        for pid in (task / "children").read_text().split():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"monty\0subprocess\0"):
                    found.append(int(pid))
    return found


@pytest.mark.parametrize(
    "code",
    [
        "",
        "x = 1",
        "for i in x:\n  i",
        "x == 1; 2",
        "'''a",
        "lambda: 1",
        "import a",
        "@a",
        "x: int = 1",
        "x += 1",
    ],
)
def test_only_a_whole_last_line_that_is_an_expression_is_shown(code: str) -> None:
    assert with_last_value(code) == f"{code}\nNone"


# --- containers


@pytest.fixture
def containers(tmp_path: Path) -> Containers:
    return containers_in(tmp_path)


@pytest.fixture
def files(tmp_path: Path) -> FileStore:
    return files_in(tmp_path)


async def test_variables_stay_from_call_to_call_and_a_repeated_call_has_no_second_effect(
    sandbox: Sandbox, containers: Containers, files: FileStore
) -> None:
    response_id = new_id("resp_")
    container = container_of(response_id)
    engine, other = interpreter(sandbox, containers, files), interpreter(sandbox, containers, files)
    await engine.run(code_call("x = 1", container, "a", response_id))
    first = await engine.run(code_call("x += 1\nx", container, "b", response_id))
    again = await other.run(code_call("x += 1\nx", container, "b", response_id))
    assert logs_of(first) == logs_of(again) == "2\n"
    assert logs_of(await other.run(code_call("x", container, "c", response_id))) == "2\n"


async def test_a_call_that_is_repeated_behind_a_later_call_of_its_container_has_no_second_effect(
    sandbox: Sandbox, containers: Containers, files: FileStore
) -> None:
    response_id = new_id("resp_")
    container = container_of(response_id)
    engine = interpreter(sandbox, containers, files)
    await engine.run(code_call("x = 0", container, "a", response_id))
    # Two calls side by side. The worker of one dies after its effect, and the other ends before it is repeated.
    killed = await engine.run(code_call("x += 1\nx", container, "killed", response_id))
    await engine.run(code_call("x += 10", container, "beside", response_id))
    assert (
        logs_of(await engine.run(code_call("x += 1\nx", container, "killed", response_id))) == logs_of(killed) == "1\n"
    )
    assert logs_of(await engine.run(code_call("x", container, "last", response_id))) == "11\n"


async def test_a_state_that_two_later_ones_have_replaced_is_not_taken_for_kept(containers: Containers) -> None:
    container = container_of(new_id("resp_"))

    async def keep(version: int, key: str) -> bool:
        before = ContainerState(version=version, created_at=1)
        call = ContainerCall("")
        return await containers.keep_after("acme", container, before, call_key=key, call=call, state=b"s", files=())

    assert await keep(0, "first")
    assert await keep(1, "second")
    assert await keep(2, "third")
    assert not await keep(1, "late"), "the file of version 2 is gone, and its number is used all the same"
    assert (await containers.load("acme", container)).version == 3


async def test_calls_of_two_workers_at_once_both_count(
    sandbox: Sandbox, containers: Containers, files: FileStore
) -> None:
    response_id = new_id("resp_")
    container = container_of(response_id)
    engines = interpreter(sandbox, containers, files), interpreter(sandbox, containers, files)
    await engines[0].run(code_call("x = 0", container, "first", response_id))
    await asyncio.gather(
        *(
            engine.run(code_call("x += 1", container, f"{n}{at}", response_id))
            for n, engine in enumerate(engines)
            for at in (1, 2)
        )
    )
    assert logs_of(await engines[1].run(code_call("x", container, "last", response_id))) == "4\n"


async def test_a_foreign_an_expired_and_a_changed_state_are_none(
    sandbox: Sandbox, containers: Containers, files: FileStore, tmp_path: Path
) -> None:
    response_id = new_id("resp_")
    container = container_of(response_id)
    await interpreter(sandbox, containers, files).run(code_call("x = 1", container, "a", response_id))
    assert await containers.exists("acme", container)
    assert not await containers.exists("other", container)
    expiring = containers_in(tmp_path, idle_seconds=-1)
    assert not await expiring.exists("acme", container)
    (file,) = (tmp_path / response_id).iterdir()
    file.write_bytes(file.read_bytes()[:-4] + b"AAAA")
    assert not await containers.exists("acme", container)
    later = await interpreter(sandbox, containers, files).run(code_call("x = 2\nx", container, "b", new_id("resp_")))
    assert logs_of(later).startswith("[Variables and functions of earlier calls are gone.]")


async def test_a_container_that_another_tenants_item_names_keeps_its_state(
    sandbox: Sandbox, containers: Containers, files: FileStore
) -> None:
    response_id = new_id("resp_")
    container = container_of(response_id)
    engine = interpreter(sandbox, containers, files)
    await engine.run(code_call("x = 1", container, "a", response_id))
    await engine.run(code_call("x = 2", container, "b", new_id("resp_"), tenant="other"))
    assert logs_of(await engine.run(code_call("x", container, "c", response_id))) == "1\n"


async def test_a_container_goes_with_the_response_that_began_it_and_a_late_call_brings_nothing_back(
    sandbox: Sandbox, containers: Containers, files: FileStore, tmp_path: Path
) -> None:
    response_id = new_id("resp_")
    container = container_of(response_id)
    engine = interpreter(sandbox, containers, files)
    await engine.run(code_call("x = 'secret'", container, "a", response_id))
    ErasureMarks(tmp_path).mark(response_id, 60)
    await forget_payloads(tmp_path, response_id)
    await engine.run(code_call("x = 'secret'", container, "b", response_id))
    assert not (tmp_path / response_id).exists()


async def test_the_state_of_a_response_that_is_not_stored_cannot_be_read_without_its_key(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    response_id = new_id("resp_")
    keys = ResponseKeys(tmp_path / "keys")
    keys.make(response_id)
    containers = Containers(tmp_path, Sealer([b"k" * 32]), keys, idle_seconds=60)
    await interpreter(sandbox, containers, files_in(tmp_path)).run(
        code_call("x = 1", container_of(response_id), "a", response_id)
    )
    assert await containers.exists("acme", container_of(response_id))
    keys.throw_away(response_id)
    assert not await containers.exists("acme", container_of(response_id))


@pytest.mark.parametrize("container_id", ["", "cntr_", "cntr_../x", "resp_" + "0" * 53, "cntr_" + "0" * 48 + "00001"])
def test_a_text_that_is_no_containers_id_names_no_folder(container_id: str) -> None:
    with pytest.raises(ValueError, match="is not the id of a container"):
        owner_of(container_id)


@pytest.mark.parametrize("code", [None, 3, "x" * 100_001])
async def test_arguments_that_are_no_code_are_refused(
    sandbox: Sandbox, containers: Containers, files: FileStore, code: object
) -> None:
    with pytest.raises(ToolError):
        await interpreter(sandbox, containers, files).run(code_call(code, container_of(new_id("resp_")), "a"))
