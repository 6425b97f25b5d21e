"""Files of a container: read and written by code, kept with its variables, within limits, and never somebody else's."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from activities.tool_calls.code_folders import CodeFolder, CodeFolders, remove_left_folders
from activities.tools.code_interpreter.code import EmbeddedPython
from activities.tools.code_interpreter.engine import CodeInterpreter
from activities.tools.code_interpreter.sandbox import MIB, Sandbox, Slots
from open_responses.contracts import ToolError
from open_responses.errors import InvalidRequest
from open_responses.ids import new_id
from open_responses.io.files.file_store import FileStore
from open_responses.io.store.containers import Containers, container_of, owner_of
from open_responses.io.temporal.erasure_marks import ErasureMarks
from open_responses.io.temporal.large_payloads import forget_payloads
from open_responses.json_types import JsonObject
from open_responses.tool_use.built_in_engine import BuiltInResult
from open_responses.tool_use.code_functions import INPUT_FILES
from open_responses.tool_use.container_files import ContainerFile, ContainerState, FileGone, FilesRefused
from tests.support.code_calls import (
    LIMITS,
    MOST_BYTES,
    code_call,
    containers_in,
    content_of,
    files_in,
    folders_in,
    interpreter,
    logs_of,
    upload,
)

ROOT = Path(__file__).parents[2]


@pytest_asyncio.fixture(scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    made = Sandbox(LIMITS, processes=2)
    yield made
    await made.close()


@pytest.fixture
def containers(tmp_path: Path) -> Containers:
    return containers_in(tmp_path)


@pytest.fixture
def files(tmp_path: Path) -> FileStore:
    return files_in(tmp_path)


@pytest.fixture
def engine(sandbox: Sandbox, containers: Containers, files: FileStore) -> CodeInterpreter:
    return interpreter(sandbox, containers, files)


@pytest.fixture
def response_id() -> str:
    return new_id("resp_")


@pytest.fixture
def container(response_id: str) -> str:
    return container_of(response_id)


def contents(tmp_path: Path, container: str) -> list[str]:
    folder = tmp_path / owner_of(container)
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("content-")) if folder.exists() else []


def with_files(*file_ids: str) -> JsonObject:
    return {"container": {"type": "auto", "file_ids": list(file_ids)}}


async def test_code_writes_files_that_any_worker_reads_in_the_next_call(
    engine: CodeInterpreter, sandbox: Sandbox, containers: Containers, files: FileStore, container: str
) -> None:
    writes = (
        "import os\nos.makedirs('out')\nopen('out/a.csv', 'w').write('x,y\\n')\n"
        "open('/mnt/data/b.bin', 'wb').write(b'\\x00')"
    )
    first = await engine.run(code_call(writes, container, "a"))
    assert [one["filename"] for one in first.citations] == ["b.bin", "out/a.csv"]
    assert {one["type"] for one in first.citations} == {"container_file_citation"}
    assert str(first.output).endswith(
        "Files written:\n【1:1】 /mnt/data/b.bin (1 bytes)\n【1:2】 /mnt/data/out/a.csv (4 bytes)"
    )
    other = interpreter(sandbox, containers, files)
    assert logs_of(await other.run(code_call("open('out/a.csv').read()", container, "b"))) == "'x,y\\n'\n"
    (plain, nested) = (await containers.load("acme", container)).files
    assert (plain.path, plain.bytes, plain.source) == ("b.bin", 1, "assistant")
    assert nested.content is not None
    assert content_of(containers, container, nested.content) == b"x,y\n"


async def test_a_file_that_is_written_again_keeps_its_id_and_one_that_is_removed_is_gone(
    engine: CodeInterpreter, containers: Containers, container: str, tmp_path: Path
) -> None:
    await engine.run(code_call("open('a', 'w').write('1')\nopen('b', 'w').write('1')", container, "a"))
    before = (await containers.load("acme", container)).files
    again = await engine.run(code_call("import os\nopen('a', 'w').write('2')\nos.remove('b')", container, "b"))
    (after,) = (await containers.load("acme", container)).files
    assert (after.id, after.path) == (before[0].id, "a")
    assert [one["file_id"] for one in again.citations] == [after.id]
    assert contents(tmp_path, container) == [after.content], "the replaced content is gone from the disk"
    unchanged = await engine.run(code_call("open('a').read()", container, "c"))
    assert (logs_of(unchanged), list(unchanged.citations)) == ("'2'\n", [])
    assert (await containers.load("acme", container)).files == (after,)


async def test_a_call_that_is_repeated_after_its_worker_died_shows_the_files_of_its_first_run(
    engine: CodeInterpreter, sandbox: Sandbox, containers: Containers, files: FileStore, response_id: str
) -> None:
    container = container_of(response_id)
    appends = "open('log', 'a').write('x')\nprint(open('log').read())"
    first = await engine.run(code_call(appends, container, "a", response_id))
    again = await interpreter(sandbox, containers, files).run(code_call(appends, container, "a", response_id))
    assert (again.output, again.citations, logs_of(again)) == (first.output, first.citations, "x\n")
    assert logs_of(await engine.run(code_call("open('log').read()", container, "b"))) == "'x'\n"


async def test_files_of_two_workers_at_once_are_all_kept(
    sandbox: Sandbox, containers: Containers, files: FileStore, container: str, tmp_path: Path
) -> None:
    engines = [interpreter(sandbox, containers, files) for _ in range(2)]
    calls = [code_call(f"open('{n}', 'w').write('x')", container, str(n)) for n in range(4)]
    await asyncio.gather(*(engines[n % 2].run(call) for n, call in enumerate(calls)))
    kept = (await containers.load("acme", container)).files
    assert [file.path for file in kept] == ["0", "1", "2", "3"]
    assert contents(tmp_path, container) == sorted(str(file.content) for file in kept), "no content of a lost attempt"


async def test_named_files_are_read_stay_for_later_calls_and_end_with_the_file(
    engine: CodeInterpreter, containers: Containers, files: FileStore, response_id: str
) -> None:
    container = container_of(response_id)
    lent, named, foreign = (
        upload(files, "../sales.csv", b"1"),
        upload(files, "sales.csv", b"2"),
        upload(files, "secret", b"3", tenant="other"),
    )
    settings = {**with_files(lent, foreign), INPUT_FILES: [named]}
    seen = await engine.run(
        code_call("import os\nsorted(os.listdir())", container, "a", response_id, settings=settings)
    )
    assert logs_of(seen) == f"['{named}-sales.csv', 'sales.csv']\n"
    assert {file.source for file in (await containers.load("acme", container)).files} == {"user"}
    assert not seen.citations
    files.delete(named, "acme")
    later = await engine.run(code_call("import os\nos.listdir()", container, "b"))
    assert logs_of(later) == "['sales.csv']\n"
    changed = await engine.run(code_call("open('sales.csv', 'w').write('mine')", container, "c"))
    (kept,) = (await containers.load("acme", container)).files
    assert (kept.source, kept.file_id) == ("assistant", None)
    assert [one["file_id"] for one in changed.citations] == [kept.id]
    assert files.get(lent, "acme") is not None
    assert files.get(lent, "acme").path.read_bytes() == b"1"  # type: ignore[union-attr]


async def test_files_with_the_longest_names_are_lent(
    engine: CodeInterpreter, containers: Containers, files: FileStore, container: str
) -> None:
    names = ["\N{LATIN SMALL LETTER U WITH DIAERESIS}" * 251 + ".csv", *["x" * 251 + ".csv"] * 2]
    ids = [upload(files, name, b"1") for name in names]
    await engine.run(code_call("1", container, "a", settings=with_files(*ids)))
    lent = [file.path for file in (await containers.load("acme", container)).files]
    assert len(lent) == 3
    assert all(name.endswith(".csv") for name in lent)


@pytest.mark.parametrize(
    ("code", "said", "is_kept"),
    [
        ("for i in range(501):\n    open(str(i), 'w').close()", "at most 500 are kept", False),
        pytest.param(
            "for i in range(99_999):\n    open(str(i), 'w').close()", "limit", False, marks=pytest.mark.campaign
        ),
        ("while True:\n    open('a', 'w').write('x' * 100_000)", "disk write limit", True),
        ("open('a', 'wb').write(b'x' * 10**9)", "24 MiB of memory", False),
        pytest.param(
            "import os\nwhile True:\n    os.listdir()", "as they were before", False, marks=pytest.mark.campaign
        ),
        ("open('../../etc/x', 'w')", "Permission denied", True),
        ("open('/etc/passwd')", "Permission denied", True),
        ("open('/tmp/x', 'w')", "Permission denied", True),
        ("open('n' * 300, 'w')", "File name too long", True),
        ("open('new\\nline', 'w')", "not printable", False),
        (
            "import os\nos.makedirs('/'.join(['d' * 100] * 3))\nopen('/'.join(['d' * 100] * 3) + '/x', 'w')",
            "longer",
            False,
        ),
        ("import os\nos.symlink('/etc/passwd', 'link')", "no attribute", True),
        ("open('.', 'w')", "directory", True),
    ],
)
async def test_files_that_code_must_not_write_end_as_an_output_that_says_so(
    engine: CodeInterpreter, containers: Containers, container: str, tmp_path: Path, code: str, said: str, is_kept: bool
) -> None:
    await engine.run(code_call("open('first', 'w').write('1')", container, "a"))
    result = await engine.run(code_call(code, container, "b"))
    assert said in logs_of(result), logs_of(result)
    found = await containers.load("acme", container)
    assert found.version == (2 if is_kept else 1)
    assert "first" in [file.path for file in found.files]
    assert contents(tmp_path, container) == sorted(str(file.content) for file in found.files)
    assert not list(Path(tempfile.gettempdir()).glob("open_responses-container-*"))


async def test_more_than_a_container_may_hold_is_refused_over_several_calls(
    engine: CodeInterpreter, containers: Containers, container: str
) -> None:
    for name in "ab":
        await engine.run(code_call(f"open('{name}', 'w').write('x' * 1_000_000)", container, name))
    full = await engine.run(code_call("open('c', 'w').write('x' * 200_000)", container, "c"))
    assert f"at most {MOST_BYTES} are kept" in logs_of(full)
    assert [file.path for file in (await containers.load("acme", container)).files] == ["a", "b"]


async def test_named_files_that_are_too_large_together_are_an_error_that_the_model_reads(
    engine: CodeInterpreter, files: FileStore, container: str
) -> None:
    ids = [upload(files, name, b"x" * (MOST_BYTES // 2 + 1)) for name in "ab"]
    with pytest.raises(ToolError, match="larger than"):
        await engine.run(code_call("1", container, "a", settings=with_files(*ids)))


async def test_a_content_that_is_lost_does_not_stop_the_container(
    engine: CodeInterpreter, containers: Containers, container: str, tmp_path: Path
) -> None:
    await engine.run(code_call("x = 5\nopen('a', 'w').write('1')", container, "a"))
    (name,) = contents(tmp_path, container)
    (tmp_path / owner_of(container) / name).unlink()
    with pytest.raises(FileGone):
        content_of(containers, container, name)
    assert logs_of(await engine.run(code_call("import os\nx, os.listdir()", container, "b"))) == "(5, [])\n"


async def test_another_tenant_reads_no_file_of_a_container_that_it_names(
    engine: CodeInterpreter, containers: Containers, container: str, tmp_path: Path
) -> None:
    await engine.run(code_call("open('secret', 'w').write('1')", container, "a"))
    seen = await engine.run(code_call("import os\nos.listdir()", container, "b", tenant="other"))
    assert logs_of(seen).endswith("[]\n")
    with pytest.raises(FileGone):
        content_of(containers, container, contents(tmp_path, container)[0], tenant="other")
    assert [file.path for file in (await containers.load("acme", container)).files] == ["secret"]


async def test_files_go_with_the_response_that_began_the_container(
    engine: CodeInterpreter, container: str, response_id: str, tmp_path: Path
) -> None:
    await engine.run(code_call("open('a', 'w').write('1')", container, "a", response_id))
    ErasureMarks(tmp_path).mark(response_id, 60)
    await forget_payloads(tmp_path, response_id)
    await engine.run(code_call("open('b', 'w').write('1')", container, "b", response_id))
    assert not (tmp_path / response_id).exists()


# --- what clients do with containers


async def test_a_deleted_container_is_empty_and_a_call_that_ran_meanwhile_begins_again(
    engine: CodeInterpreter, containers: Containers, container: str, tmp_path: Path
) -> None:
    await engine.run(code_call("x = 1\nopen('a', 'w').write('1')", container, "a"))
    before = await containers.load("acme", container)
    assert not containers.delete("other", container)
    assert containers.delete("acme", container)
    assert not containers.delete("acme", container)
    assert not await containers.exists("acme", container)
    assert contents(tmp_path, container) == []
    assert not containers.write("acme", container, before), "a change that began before the deletion is not kept"
    assert logs_of(await engine.run(code_call("import os\nos.listdir()", container, "b"))).endswith("[]\n")
    assert await containers.exists("acme", container), "the conversation goes on, in an empty container"


def test_containers_are_listed_in_pages_by_tenant_and_name(containers: Containers) -> None:
    ids = [containers.create("acme", name=name, idle_minutes=None, files=(), most=10) for name in ("a", "b", "a")]
    containers.create("other", name="a", idle_minutes=None, files=(), most=10)

    def page(limit: int, after: str | None = None, name: str | None = None) -> tuple[list[str], bool] | None:
        found = containers.page("acme", limit=limit, after=after, name=name, newest_first=False)
        return None if found is None else ([one for one, _ in found[0]], found[1])

    everything = page(10)
    assert everything is not None
    assert (sorted(everything[0]), everything[1]) == (sorted(ids), False)
    first = page(2)
    assert first == (everything[0][:2], True)
    assert page(2, first[0][-1]) == (everything[0][2:], False)
    assert page(10, name="b") == ([ids[1]], False)
    assert page(10, after=container_of(new_id("resp_"))) is None
    assert containers.delete("acme", ids[0])
    assert containers.count("acme") == 2


def test_a_tenant_makes_so_many_containers_and_no_more(containers: Containers) -> None:
    for _ in range(2):
        containers.create("acme", name="", idle_minutes=None, files=(), most=2)
    with pytest.raises(InvalidRequest) as refused:
        containers.create("acme", name="", idle_minutes=None, files=(), most=2)
    assert refused.value.error_code == "container_quota_exceeded"
    containers.create("other", name="", idle_minutes=None, files=(), most=2)


def test_containers_that_expired_are_swept_with_their_files_and_others_stay(
    containers: Containers, tmp_path: Path
) -> None:
    old, new = (containers.create("acme", name=name, idle_minutes=1, files=(), most=10) for name in ("old", "new"))
    add_content(containers, old)
    age(tmp_path, old, 61)
    assert not containers.read("acme", old).exists
    assert containers.sweep() == 1
    assert not (tmp_path / owner_of(old)).exists()
    assert containers.read("acme", new).exists
    assert containers.count("acme") == 1


def test_contents_of_a_call_that_found_its_container_expired_stay_until_no_call_can_list_them(
    engine: CodeInterpreter, containers: Containers, tmp_path: Path
) -> None:
    container = containers.create("acme", name="", idle_minutes=1, files=(), most=10)
    add_content(containers, container)
    age(tmp_path, container, 61)
    before = containers.read("acme", container)
    content = containers.write_content("acme", container, b"new")
    assert containers.sweep() == 0
    assert contents(tmp_path, container) == [content], "what the expired version listed is gone"
    new = ContainerFile(new_id("cfile_"), "new", 3, 0, "assistant", content=content)
    assert containers.write("acme", container, ContainerState(version=before.version, files=(new,)))
    assert content_of(containers, container, content) == b"new"
    orphan = containers.create("acme", name="", idle_minutes=1, files=(), most=10)
    containers.write_content("acme", orphan, b"1")
    age(tmp_path, orphan, 3 * 3600)
    assert containers.sweep() == 1
    assert not (tmp_path / owner_of(orphan)).exists()


def test_contents_are_as_young_as_their_container(containers: Containers, tmp_path: Path) -> None:
    """The daily sweep removes what is old, file by file."""
    container = containers.create("acme", name="", idle_minutes=None, files=(), most=10)
    add_content(containers, container)
    age(tmp_path, container, 50)
    add_content(containers, container)
    assert all(path.stat().st_mtime > time.time() - 40 for path in (tmp_path / owner_of(container)).iterdir())


async def test_a_container_does_not_expire_while_a_call_runs(tmp_path: Path) -> None:
    containers = containers_in(tmp_path, call_seconds=600)
    container = containers.create("acme", name="", idle_minutes=1, files=(), most=10)
    age(tmp_path, container, 59)
    assert not (await containers.begin("other", container)).exists, "another tenant's call is no use of it"
    age(tmp_path, container, 0)
    assert (await containers.begin("acme", container)).exists
    used_at = containers.used_at(container)
    assert used_at is not None
    assert used_at <= time.time(), "a time in the future is not shown"
    age(tmp_path, container, 600)
    assert containers.sweep() == 0
    assert containers.read("acme", container).exists
    age(tmp_path, container, 120)
    assert not containers.read("acme", container).exists
    assert containers.sweep() == 1


async def test_an_expired_container_that_another_tenant_names_is_not_that_tenants(
    engine: CodeInterpreter, containers: Containers, tmp_path: Path
) -> None:
    container = containers.create("acme", name="", idle_minutes=1, files=(), most=10)
    age(tmp_path, container, 61)
    await engine.run(code_call("x = 1\nopen('a', 'w').write('1')", container, "a", tenant="other"))
    assert not await containers.exists("other", container)
    assert contents(tmp_path, container) == []
    assert containers.read("acme", container).is_deleted


async def test_all_containers_of_a_tenant_have_so_many_bytes_and_no_more(
    sandbox: Sandbox, containers: Containers, files: FileStore, tmp_path: Path
) -> None:
    folders = folders_in(files, containers, most_tenant_bytes=300_000)
    engine = CodeInterpreter(EmbeddedPython(sandbox), containers, folders)
    first, second = (containers.create("acme", name="", idle_minutes=None, files=(), most=2) for _ in range(2))
    third = container_of(new_id("resp_"))
    writes = "open('a', 'wb').write(b'x' * 102_400)"
    for container in (first, second):
        containers.write_content("acme", container, os.urandom(100_000))
        add_content(containers, container)
    refused = await engine.run(code_call(writes, third, "c"))
    assert "at most 300000 are kept for a user" in logs_of(refused)
    assert not (await containers.load("acme", third)).exists
    with pytest.raises(FilesRefused):
        containers.take_room("acme", 100_000, most=300_000)
    await engine.run(code_call("import os\nos.remove('a')", second, "d"))
    assert not (await containers.load("acme", second)).files, "code may remove files"
    other = await engine.run(code_call(writes, container_of(new_id("resp_")), "e", tenant="other"))
    assert len(other.citations) == 1
    assert containers.delete("acme", first)
    for path in (tmp_path / owner_of(first)).glob("content-*"):
        path.unlink()
    assert len((await engine.run(code_call(writes, third, "f"))).citations) == 1


async def test_files_are_opened_for_no_more_calls_than_have_a_slot(
    sandbox: Sandbox, containers: Containers, files: FileStore
) -> None:
    folders = CountedFolders(files, containers, most_bytes=MOST_BYTES, most_tenant_bytes=MOST_BYTES)
    engine = CodeInterpreter(EmbeddedPython(sandbox), containers, folders, Slots(1))
    ids = [container_of(new_id("resp_")) for _ in range(4)]
    results = await asyncio.gather(
        *(engine.run(code_call("open('a', 'w').write('1')", one, str(n))) for n, one in enumerate(ids))
    )
    assert [len(result.citations) for result in results] == [1] * 4
    assert folders.most_at_once == 1


class CountedFolders(CodeFolders):
    """Counts the folders at a time."""

    at_once, most_at_once = 0, 0

    @asynccontextmanager
    async def folder(
        self, tenant: str, container_id: str, kept: Sequence[ContainerFile], lent: Sequence[str]
    ) -> AsyncIterator[CodeFolder]:
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            async with super().folder(tenant, container_id, kept, lent) as made:
                yield made
        finally:
            self.at_once -= 1


def test_a_content_is_opened_with_two_copies_of_it_in_memory(containers: Containers, tmp_path: Path) -> None:
    container = containers.create("acme", name="", idle_minutes=None, files=(), most=10)
    size = 8 * MIB
    data = os.urandom(size)
    name = containers.write_content("acme", container, data)
    with (tmp_path / "plain").open("w+b") as target:
        tracemalloc.start()
        try:
            containers.copy_content("acme", container, name, target)
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert (tmp_path / "plain").read_bytes() == data
    assert most < 2.9 * size, most / size


def add_content(containers: Containers, container: str) -> None:
    """A file that the container's newest version lists."""
    content = containers.write_content("acme", container, b"1")
    found = containers.read("acme", container)
    file = ContainerFile(new_id("cfile_"), "a", 1, 0, "user", content=content)
    assert containers.write("acme", container, replace(found, files=(*found.files, file)))


def age(tmp_path: Path, container: str, seconds: float) -> None:
    """Make the container's files older."""
    for path in (tmp_path / owner_of(container)).iterdir():
        at = path.stat().st_mtime - seconds
        os.utime(path, (at, at))


def test_a_state_of_an_earlier_version_is_read(containers: Containers, tmp_path: Path) -> None:
    """Its calls were texts, and it had no files, no name and no time."""
    container_id = containers.create("acme", name="", idle_minutes=None, files=(), most=10)
    bound_to = f"container:acme:{container_id}"
    earlier = b'{"calls": {"k": "logs"}, "state": true}\nstate'
    packed = containers._seals.pack(earlier, owner=owner_of(container_id), bound_to=bound_to)
    (tmp_path / owner_of(container_id) / "container-00000001").write_bytes(packed)
    found = containers.read("acme", container_id)
    assert (found.calls["k"].logs, found.state, found.files) == ("logs", b"state", ())


async def test_the_folder_of_a_dead_worker_is_removed_and_that_of_a_living_one_stays(
    containers: Containers, files: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "temporary"
    made.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(made))
    worker = subprocess.Popen([sys.executable, "-c", _WORKER, str(made)], stdout=subprocess.PIPE, cwd=ROOT)
    assert worker.stdout is not None
    with worker, worker.stdout as begun:
        theirs = Path(begun.readline().decode().strip())
        async with folders_in(files, containers).folder("acme", "cntr_1", (), ()) as ours:
            remove_left_folders()
            assert theirs.exists()
            worker.kill()
            worker.wait()
            remove_left_folders()
            assert not theirs.exists()
            assert ours.path.exists()
    assert not list(made.iterdir())


_WORKER = """
import sys, tempfile, time
tempfile.tempdir = sys.argv[1]
from activities.tool_calls.code_folders import _make_locked
print(_make_locked()[0], flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(os.getuid() == 0, reason="root lists every directory")
async def test_a_directory_that_cannot_be_listed_is_refused(containers: Containers, files: FileStore) -> None:
    async with folders_in(files, containers).folder("acme", "cntr_1", (), ()) as folder:
        (folder.path / "closed").mkdir(0)
        with pytest.raises(FilesRefused, match="cannot be listed"):
            await folder.changes()
        (folder.path / "closed").rmdir()
        (folder.path / "closed").touch(0)
        with pytest.raises(FilesRefused, match="cannot be read"):
            await folder.changes()


def test_a_result_says_how_to_give_a_file() -> None:
    assert BuiltInResult(output="").how_to_cite.startswith("Cite what you use")
