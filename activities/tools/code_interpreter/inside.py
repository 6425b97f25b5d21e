"""Runs one piece of a model's code in CPython, inside the sandbox of `bubblewrap.py`.

It runs alone with the standard library of whatever Python is in the sandbox: nothing of this package is there. The code
writes only to file systems in memory, whose sizes the kernel bounds. `bubblewrap.py` says how the files come in and go
out.

Variables are kept one by one, as pickles, and definitions and imports as the source that made them. So what cannot be
kept costs no more than itself.
"""

from __future__ import annotations

import ast
import io
import json
import os
import pickle
import resource
import shutil
import struct
import sys
import traceback
import types

_FILES = "/mnt/data"
_CHUNK_BYTES = 1024 * 1024
# Of each file that the code has not written, in nanoseconds since 1970.
_UNCHANGED_NS = 1_000_000_000


def main() -> None:
    left = os.fdopen(int(sys.argv[1]), "wb")
    # Without these bytes, the sandbox itself has failed.
    left.write(b"begun\n")
    left.flush()
    # A process that the code starts does not have it.
    os.set_inheritable(left.fileno(), False)
    with os.fdopen(os.dup(0), "rb") as file:
        given = json.loads(file.readline())
        state = None if given["state"] is None else file.read(given["state"])
        known = {path: _put(file, os.path.join(_FILES, path), size) for path, size in given["files"]}
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    for name, most in given["limits"].items():
        resource.setrlimit(getattr(resource, name), (most, most))
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    names = module.__dict__
    definitions, first = _load(state, names), os.getpid()
    failed = _run(given["code"], names, definitions)
    sys.stdout.flush()
    if os.getpid() != first:
        # A process that the code has forked.
        os._exit(0)
    try:
        _leave(left, _kept(names, definitions), known, given["most_state"], given["most_files"])
    except (OSError, MemoryError) as error:
        # Without the index nothing is kept.
        print(f"[What the code has left could not be read: {type(error).__name__}: {error}]")
        failed = True
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of the code do not hold the end up.
    os._exit(1 if failed else 0)


def _put(given: io.BufferedReader, path: str, size: int) -> tuple[int, int, int]:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        while size > 0:
            data = given.read(min(size, _CHUNK_BYTES))
            if not data:
                raise EOFError(path)
            file.write(data)
            size -= len(data)
    os.utime(path, ns=(_UNCHANGED_NS, _UNCHANGED_NS))
    return _version(os.stat(path))


def _version(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_mtime_ns, status.st_size


def _leave(
    left: io.BufferedWriter,
    kept: tuple[dict[str, str], dict[str, bytes]],
    known: dict[str, tuple[int, int, int]],
    most_state: int,
    most_files: int,
) -> None:
    """Write the state, the content of each file that is new or has changed, and an index of them."""
    listed: list[tuple[str, int | None]] = []
    size = sum(map(len, kept[1].values()))
    if size <= most_state:
        begun = left.tell()
        pickle.dump(kept, left)
        size = left.tell() - begun
    paths = _regular_files(_FILES)
    for path in paths if len(paths) <= most_files else ():
        name = os.path.relpath(path, _FILES)
        if known.get(name) == _version(os.stat(path)):
            listed.append((name, None))
            continue
        begun = left.tell()
        os.chmod(path, 0o600)
        with open(path, "rb") as file:
            shutil.copyfileobj(file, left, _CHUNK_BYTES)
        listed.append((name, left.tell() - begun))
    index = json.dumps({"state": size, "count": len(paths), "files": listed}).encode()
    left.write(index + struct.pack("<Q", len(index)))
    left.flush()


def _regular_files(folder: str) -> list[str]:
    """Each file that is no link, pipe or device: a container has none of those. The code may have closed a folder."""
    found: list[str] = []
    folders = [folder]
    while folders:
        inner = folders.pop()
        os.chmod(inner, 0o700)
        with os.scandir(inner) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    found.append(entry.path)
    return found


def _load(state: bytes | None, names: dict[str, object]) -> dict[str, str]:
    """The definitions of earlier runs, which are run again, and their variables."""
    if state is None:
        return {}
    try:
        read: tuple[dict[str, str], dict[str, bytes]] = pickle.loads(state)
        definitions, variables = read
    except Exception:  # noqa: BLE001 - whatever a state of another Python raises
        print("[Variables and functions of earlier calls are gone.]")
        return {}
    for source in definitions.values():
        try:
            exec(compile(source, "earlier.py", "exec"), names)
        except Exception:  # noqa: BLE001 - the code's own
            traceback.print_exc()
    for name, value in variables.items():
        try:
            names[name] = pickle.loads(value)
        except Exception:  # noqa: BLE001 - the code's own
            print(f"[The variable {name} of an earlier call is gone.]")
    return definitions


def _run(code: str, names: dict[str, object], definitions: dict[str, str]) -> bool:
    """Run the code, and print the value of a last line that is an expression. Returns whether it has failed."""
    try:
        tree = ast.parse(code, "code.py")
        last = tree.body[-1] if tree.body else None
        if isinstance(last, ast.Expr):
            tree.body.pop()
        for node in tree.body:
            exec(compile(ast.Module([node], []), "code.py", "exec"), names)
            _define(node, code, definitions)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "code.py", "eval"), names)
            if value is not None:
                print(repr(value))
    except BaseException as error:  # noqa: BLE001 - the code's own, which the model reads
        sys.stdout.flush()
        _show(error, code)
        return not (isinstance(error, SystemExit) and error.code in (None, 0))
    return False


def _define(node: ast.stmt, code: str, definitions: dict[str, str]) -> None:
    source = ast.get_source_segment(code, node)
    if source is None:
        return
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        decorators = "".join(f"@{ast.get_source_segment(code, one)}\n" for one in node.decorator_list)
        definitions[node.name] = decorators + source
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        definitions[source] = source


def _show(error: BaseException, code: str) -> None:
    """The traceback from the code's own frames on."""
    lines = code.splitlines()
    shown = traceback.TracebackException.from_exception(error)
    shown.stack = traceback.StackSummary.from_list(
        [
            (one.filename, one.lineno, one.name, lines[one.lineno - 1].strip())
            if one.filename == "code.py" and one.lineno is not None and one.lineno <= len(lines)
            else one
            for one in shown.stack
            if one.filename != __file__
        ]
    )
    print("".join(shown.format()).rstrip(), file=sys.stderr)


def _kept(names: dict[str, object], definitions: dict[str, str]) -> tuple[dict[str, str], dict[str, bytes]]:
    variables: dict[str, bytes] = {}
    lost: list[str] = []
    for name, value in names.items():
        if name.startswith("__") or isinstance(value, types.ModuleType) or _is_defined(name, value, definitions):
            continue
        try:
            variables[name] = pickle.dumps(value)
        except Exception:  # noqa: BLE001 - the code's own
            lost.append(name)
    if lost:
        print(f"[Not kept for the next call: {', '.join(lost[:20])}]")
    return definitions, variables


def _is_defined(name: str, value: object, definitions: dict[str, str]) -> bool:
    """Whether a definition or an import makes it again."""
    if name in definitions and isinstance(value, (type, types.FunctionType)):
        return True
    imported = getattr(value, "__module__", "__main__")
    return imported != "__main__" and isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType))


if __name__ == "__main__":
    main()
