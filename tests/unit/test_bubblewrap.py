"""Code of a model in CPython, in namespaces of the kernel: what it may not do ends as an output that says so."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from activities.tool_calls.built_in_engines import check_engines
from activities.tools.code_interpreter.bubblewrap import Bubblewrap, BubblewrapPython
from activities.tools.code_interpreter.engine import CodeInterpreter
from activities.tools.code_interpreter.sandbox import MIB, Busy, Limits
from open_responses.config import Config
from open_responses.ids import new_id
from open_responses.io.store.containers import container_of
from open_responses.tool_use.built_in import BUILT_IN_TOOLS
from open_responses.tool_use.code_functions import WHOLE_PYTHON
from tests.support.code_calls import code_call, containers_in, files_in, folders_in, logs_of

ROOT = Path(__file__).parents[2]
LIMITS = Limits(seconds=1, memory_bytes=64 * MIB, output_bytes=2000, state_bytes=MIB, written_bytes=4 * MIB)
SANDBOX = Bubblewrap("bwrap", "/usr/bin/python3", ("/usr", "/bin", "/lib", "/lib64"), 16)
needs_bwrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")


@pytest_asyncio.fixture
async def python() -> AsyncIterator[BubblewrapPython]:
    yield BubblewrapPython(SANDBOX, LIMITS, at_once=2, wait_seconds=30)


@pytest.fixture
def files() -> Iterator[Path]:
    """A folder as a worker makes them. Nobody but their user enters the folders of pytest."""
    folder = Path(tempfile.mkdtemp())
    yield folder
    shutil.rmtree(folder)


def sandboxes() -> list[str]:
    """The processes of sandboxes that this process has started."""
    found = []
    for file in Path("/proc").glob("[0-9]*/status"):
        try:
            status = file.read_text()
            command = file.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if f"PPid:\t{os.getpid()}\n" in status and b"bwrap" in command:
            found.append(file.parent.name)
    return found


@needs_bwrap
@pytest.mark.campaign
async def test_variables_definitions_and_imports_stay(python: BubblewrapPython, files: Path) -> None:
    code = (
        "import math\nfrom collections import Counter\n"
        "class Point:\n    def __init__(self, x):\n        self.x = x\n"
        "def double(n):\n    return 2 * n\n"
        "point = Point(3)\nnumbers = [1, 2]\nlines = (line for line in [])\ndouble(21)"
    )
    first = await python.run(code, None, files)
    assert first.logs == "42\n[Not kept for the next call: lines]\n"
    assert not first.failed
    second = await python.run("double(point.x), numbers, round(math.pi, 2), Counter('aa')['a']", first.state, files)
    assert second.logs == "(6, [1, 2], 3.14, 2)\n"
    failed = await python.run("numbers.append(3)\n1 / 0", second.state, files)
    assert failed.failed
    assert 'File "code.py", line 2' in failed.logs
    assert "ZeroDivisionError" in failed.logs
    assert "inside.py" not in failed.logs
    assert (await python.run("numbers", failed.state, files)).logs == "[1, 2, 3]\n"
    of_monty = await python.run("1", b"a state of the other backend", files)
    assert of_monty.logs == "[Variables and functions of earlier calls are gone.]\n1\n"


@needs_bwrap
@pytest.mark.campaign
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("while True:\n    pass", "1 seconds"),
        ("import time\ntime.sleep(60)", "within its limit of 1 seconds"),
        ("print('begun')\nwhile True:\n    print('x' * 1000)", "begun"),
        ("'x' * 10**9", "MemoryError"),
        ("import os\nos.kill(os.getpid(), 9)", "64 MiB of memory"),
        ("import ctypes\nctypes.string_at(0)", "64 MiB of memory"),
        ("import os\nwhile True:\n    os.fork()", "BlockingIOError"),
        ("from threading import *\nwhile True:\n    Thread(target=Event().wait).start()", "start new thread"),
        ("import socket\nsocket.create_connection(('1.1.1.1', 80), 1)", "Network is unreachable"),
        ("open('/etc/passwd')", "No such file"),
        ("open('/root/x')", "No such file"),
        ("open('/x', 'w')", "Read-only file system"),
        ("open('/usr/x', 'w')", "Read-only file system"),
        ("open('/dev/shm/x', 'w')", "Read-only file system"),
        ("open('../../x', 'w')", "Read-only file system"),
        ("n = 0\nwhile True:\n    n += 1\n    open(f'/tmp/{n}', 'w').write('x' * 2**20)", "No space left"),
        ("n = 0\nwhile True:\n    n += 1\n    open(f'{n}', 'w').write('x' * 2**20)", "may write 4194304 bytes"),
        ("n = 0\nwhile True:\n    n += 1\n    open(f'{n}', 'w').close()", "as they were before this call"),
        ("f = open('a', 'wb')\nwhile True:\n    f.write(b'x' * 2**20)", "File too large"),
        ("x = 'y' * 2_000_000", "at most 1048576 bytes are kept"),
        ("def f(n):\n    return f(n + 1)\nf(0)", "RecursionError"),
        ("import os\nos.mount", "no attribute"),
        ("import subprocess\nsubprocess.run(['/usr/bin/unshare', '-r', 'true'], check=True)", "Error"),
        ("import sys\nsys.exit('now')", "now"),
        ("x = (", "SyntaxError"),
    ],
)
async def test_what_code_must_not_do_ends_as_an_output_that_says_so(
    python: BubblewrapPython, files: Path, code: str, said: str
) -> None:
    ran = await python.run(code, None, files)
    assert ran.failed
    assert said in ran.logs, ran.logs
    assert len(ran.logs) < 6000
    assert sandboxes() == []


@needs_bwrap
@pytest.mark.campaign
async def test_a_sandbox_that_cannot_be_made_is_attempted_again_and_is_no_output(files: Path) -> None:
    odd = Bubblewrap("bwrap", "/usr/bin/no-such-python", ("/usr", "/lib", "/lib64"), 16)
    with pytest.raises(RuntimeError, match="the sandbox could not be started: bwrap: execvp"):
        await BubblewrapPython(odd, LIMITS, at_once=1, wait_seconds=9).run("1", None, files)


@needs_bwrap
@pytest.mark.campaign
async def test_the_code_sees_nothing_of_the_worker(
    python: BubblewrapPython, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVIDER_API_KEY", "a secret of the worker's")
    code = (
        "import os\nfor pid in (name for name in os.listdir('/proc') if name.isdigit()):\n"
        "    print(open(f'/proc/{pid}/environ').read())\n"
        "print(os.environ, os.getuid(), sorted(os.listdir('/')), os.listdir('/run'))"
    )
    ran = await python.run(code, None, files)
    assert "secret" not in ran.logs
    assert "65534 ['bin', 'dev', 'lib', 'lib64', 'mnt', 'proc', 'run', 'tmp', 'usr']" in ran.logs


@needs_bwrap
@pytest.mark.campaign
async def test_links_and_pipes_that_code_leaves_lead_the_worker_nowhere(
    python: BubblewrapPython, files: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a secret of the worker's")
    code = f"import os\nos.symlink({str(secret)!r}, 'link')\nos.mkfifo('pipe')\nos.link('/usr/bin/env', 'hard')"
    ran = await python.run(code, None, files)
    assert "Invalid cross-device link" in ran.logs
    # The process of the code itself can replace its state at the end.
    replaces = (
        "import atexit, os, threading, time\n"
        f"def replace():\n    while True:\n        try:\n            os.symlink({str(secret)!r}, '/run/code/x')\n"
        "            os.replace('/run/code/x', '/run/code/state')\n        except OSError:\n            pass\n"
        "threading.Thread(target=replace, daemon=True).start()\nwhile not os.path.islink('/run/code/state'):\n    pass"
    )
    ran = await python.run(replaces, None, files)
    assert ran.state is None or b"of the worker's" not in ran.state


@needs_bwrap
@pytest.mark.campaign
async def test_a_run_that_is_cancelled_leaves_no_process_and_gives_its_place_back(files: Path) -> None:
    one = BubblewrapPython(SANDBOX, Limits(seconds=60), at_once=1, wait_seconds=0.2)
    running = asyncio.create_task(one.run("import time\ntime.sleep(100)", None, files))
    async with asyncio.timeout(20):
        while not sandboxes():
            await asyncio.sleep(0.02)
    with pytest.raises(Busy):
        await one.run("1", None, files)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert sandboxes() == []
    assert (await one.run("1 + 1", None, files)).logs == "2\n"


_WORKER = """
import asyncio, sys
from pathlib import Path
from activities.tools.code_interpreter.bubblewrap import Bubblewrap, BubblewrapPython
from activities.tools.code_interpreter.sandbox import Limits
sandbox = Bubblewrap("bwrap", "/usr/bin/python3", ("/usr", "/bin", "/lib", "/lib64"), 16)
code = f"import subprocess\\nsubprocess.run(['/usr/bin/sleep', '{sys.argv[2]}'])"
python = BubblewrapPython(sandbox, Limits(seconds=300), at_once=1, wait_seconds=9)
asyncio.run(python.run(code, None, Path(sys.argv[1])))
"""


@needs_bwrap
@pytest.mark.campaign
async def test_all_processes_of_the_code_end_with_a_worker_that_is_killed(files: Path) -> None:
    seconds = f"3{os.getpid()}.5"

    def runs() -> bool:
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if file.read_bytes() == f"/usr/bin/sleep\0{seconds}\0".encode():
                    return True
        return False

    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", _WORKER, str(files), seconds, cwd=ROOT)
    async with asyncio.timeout(60):
        while not runs():
            await asyncio.sleep(0.05)
    worker.kill()
    await worker.wait()
    async with asyncio.timeout(30):
        while runs():
            await asyncio.sleep(0.05)


@needs_bwrap
@pytest.mark.campaign
async def test_a_container_keeps_files_and_variables_of_whole_python(python: BubblewrapPython, tmp_path: Path) -> None:
    containers, stored = containers_in(tmp_path), files_in(tmp_path)
    engine = CodeInterpreter(python, containers, folders_in(stored, containers))
    response_id = new_id("resp_")
    container = container_of(response_id)
    writes = "import os, sqlite3\nn = 7\nos.symlink('/etc/passwd', 'link')\nopen('a.txt', 'w').write('1')"
    first = await engine.run(code_call(writes, container, "a", response_id))
    assert [one["filename"] for one in first.citations] == ["a.txt"]
    again = await engine.run(code_call("def gen():\n    yield n\nlist(gen()), open('a.txt').read()", container, "b"))
    assert logs_of(again) == "([7], '1')\n"
    assert not again.citations


def test_a_sandbox_that_is_not_there_is_an_error_before_the_worker_starts() -> None:
    table = {"backend": "bubblewrap", "bubblewrap": {"command": "no-such-bwrap"}}
    with pytest.raises(ValueError, match="Install bubblewrap"):
        check_engines(Config.model_validate({"code_interpreter": table}))
    for path in ("/", "relative", "/proc/"):
        with pytest.raises(ValueError, match="absolute path"):
            Config.model_validate({"code_interpreter": {"bubblewrap": {"read_only": [path]}}})


def test_the_model_reads_which_python_it_has() -> None:
    functions = BUILT_IN_TOOLS["code_interpreter"].functions
    (whole,), (subset,) = functions({WHOLE_PYTHON: True}), functions({})
    assert "CPython" in (whole.description or "")
    assert "no generators" in (subset.description or "")
