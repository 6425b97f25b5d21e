"""Code of a model in CPython, in namespaces of the kernel: what it may not do ends as an output that says so."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import struct
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from activities.tool_calls.built_in_engines import check_engines
from activities.tools.code_interpreter.bubblewrap import Bubblewrap, BubblewrapPython
from activities.tools.code_interpreter.engine import CodeInterpreter
from activities.tools.code_interpreter.exchange import NotLeft, put_back
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
        ("import os\nos.mkdir('/run/code/state')", "No such file"),
        ("import os\nos._exit(0)", "ended before its variables and files were kept"),
        ("import os\nos.close(1)\nos.write(int(__import__('sys').argv[1]), b'x' * 9)\nos._exit(0)", "were kept"),
        (
            "import os\nfor n in range(100):\n    f = open(f'{n}', 'wb', 0)\n    os.unlink(f'{n}')\n"
            "    globals()[f'f{n}'] = f\n    f.write(b'x' * 2**20)\n    assert f.tell() == 2**20",
            "No space left",
        ),
        (
            "import os\nos.mkdir('d', 0o300)\nfor n in range(100):\n    open(f'd/{n}', 'w').write('x' * 2**20)",
            "No space left",
        ),
        ("import os\nos.chmod('.', 0)\nos.mkdir('x')", "Permission denied"),
        ("for n in range(501):\n    open(f'{n}', 'w').close()", "There would be 501 files"),
        ("open('../../x', 'w')", "Read-only file system"),
        ("n = 0\nwhile True:\n    n += 1\n    open(f'/tmp/{n}', 'w').write('x' * 2**20)", "No space left"),
        ("n = 0\nwhile True:\n    n += 1\n    open(f'{n}', 'w').write('x' * 2**20)", "No space left"),
        ("n = 0\nwhile True:\n    n += 1\n    open(f'{n}', 'w').close()", "as they were before this call"),
        ("f = open('a', 'wb')\nwhile True:\n    f.write(b'x' * 2**20)", "No space left"),
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
    assert not list(files.iterdir())


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


@needs_bwrap
@pytest.mark.campaign
async def test_files_stay_whatever_rights_the_code_gives_them(python: BubblewrapPython, tmp_path: Path) -> None:
    containers, stored = containers_in(tmp_path), files_in(tmp_path)
    engine = CodeInterpreter(python, containers, folders_in(stored, containers))
    container = container_of(new_id("resp_"))
    writes = "import os\nfor n in 'abc':\n    os.makedirs(f'{n}/in')\n    print(open(f'{n}/in/{n}', 'w').write(n))"
    await engine.run(code_call(writes, container, "a"))
    changes = (
        "os.chmod('a/in/a', 0)\nos.chmod('b', 0)\nos.remove('c/in/c')\nos.rmdir('c/in')\nos.rmdir('c')\n"
        "open('c', 'w').write('d')\nos.mkdir('e', 0o300)\nopen('e/é', 'w').write('e')\nos.chmod('.', 0)"
    )
    changed = await engine.run(code_call(changes, container, "b"))
    assert sorted(one["filename"] for one in changed.citations) == ["c", "e/é"]
    read = "import glob\n[(p, open(p).read()) for p in sorted(glob.glob('**', recursive=True)) if os.path.isfile(p)]"
    again = await engine.run(code_call(read, container, "c"))
    assert logs_of(again) == "[('a/in/a', 'a'), ('b/in/b', 'b'), ('c', 'd'), ('e/é', 'e')]\n"
    assert not again.citations


@pytest.mark.parametrize(
    ("path", "length", "said"),
    [
        ("../x", 1, "ended before"),
        ("/x", 1, "ended before"),
        ("a/../../x", 1, "ended before"),
        ("a\0b", 1, "ended before"),
        ("\ud800", 1, "ended before"),
        ("x", 2, "ended before"),
        ("x", -1, "ended before"),
        ("x", 0.5, "ended before"),
        ("x" * 256, 1, "cannot be kept"),
        ("y/x", 1, "cannot be kept"),
        ("y", 1, "cannot be kept"),
    ],
)
def test_an_index_that_the_code_has_forged_leads_nowhere(tmp_path: Path, path: str, length: object, said: str) -> None:
    folder, secret = tmp_path / "folder", tmp_path / "x"
    folder.mkdir()
    secret.write_text("a file of the worker's")
    index = json.dumps({"state": 1, "count": 2, "files": [["y", 0], [path, length]]}).encode()
    with tempfile.TemporaryFile() as left:
        left.write(b"begun\nsx" + index + struct.pack("<Q", len(index)))
        with pytest.raises(NotLeft, match=said):
            put_back(left, folder, MIB, MIB)
    assert secret.read_text() == "a file of the worker's"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["folder", "x"]


@needs_bwrap
@pytest.mark.campaign
async def test_bwrap_is_found_where_the_worker_finds_it(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    (folder / "other-bwrap").symlink_to(str(shutil.which("bwrap")))
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    other = replace(SANDBOX, command="other-bwrap")
    ran = await BubblewrapPython(other, LIMITS, at_once=1, wait_seconds=9).run("1", None, files)
    shutil.rmtree(folder)
    assert ran.logs == "1\n"


@needs_bwrap
@pytest.mark.campaign
async def test_a_character_at_the_border_of_two_pieces_is_whole(files: Path) -> None:
    writes = (
        "import os, time\nfor byte in 'é€'.encode():\n    os.write(1, bytes([byte]))\n    time.sleep(0.05)\n"
        "print()\nos.write(1, b'\\xe2') and None"
    )
    ran = await BubblewrapPython(SANDBOX, Limits(), at_once=1, wait_seconds=9).run(writes, None, files)
    assert ran.logs == "é€\n\ufffd"


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
