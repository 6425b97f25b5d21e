"""Runs one piece of a model's code in CPython, inside the sandbox of `bubblewrap.py`.

It runs alone with the standard library of whatever Python is in the sandbox: nothing of this package is there. What it
leaves is for the next run inside such a sandbox, and nobody else reads it.

Variables are kept one by one, as pickles, and definitions and imports as the source that made them. So what cannot be
kept costs no more than itself.
"""

from __future__ import annotations

import ast
import json
import os
import pickle
import resource
import sys
import traceback
import types

_WORK = "/run/code"


def main() -> None:
    with open(f"{_WORK}/begun", "x"):
        # Without this file, the sandbox itself has failed.
        pass
    limits = json.loads(sys.argv[1])
    for name, most in limits.items():
        resource.setrlimit(getattr(resource, name), (most, most))
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    names = module.__dict__
    definitions, first = _load(names), os.getpid()
    with open(f"{_WORK}/code.py", encoding="utf-8") as file:
        code = file.read()
    failed = _run(code, names, definitions)
    sys.stdout.flush()
    if os.getpid() != first:
        # A process that the code has forked.
        os._exit(0)
    _keep(names, definitions)
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of the code do not hold the end up.
    os._exit(1 if failed else 0)


def _load(names: dict[str, object]) -> dict[str, str]:
    """The definitions of earlier runs, which are run again, and their variables."""
    try:
        with open(f"{_WORK}/state", "rb") as file:
            read: tuple[dict[str, str], dict[str, bytes]] = pickle.load(file)
        definitions, variables = read
    except FileNotFoundError:
        return {}
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


def _keep(names: dict[str, object], definitions: dict[str, str]) -> None:
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
    with open(f"{_WORK}/state.new", "wb") as file:
        pickle.dump((definitions, variables), file)
    os.replace(f"{_WORK}/state.new", f"{_WORK}/state")


def _is_defined(name: str, value: object, definitions: dict[str, str]) -> bool:
    """Whether a definition or an import makes it again."""
    if name in definitions and isinstance(value, (type, types.FunctionType)):
        return True
    imported = getattr(value, "__module__", "__main__")
    return imported != "__main__" and isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType))


if __name__ == "__main__":
    main()
