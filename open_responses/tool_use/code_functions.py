"""The functions by which a model runs Python code: of the code interpreter, and of programs that call tools."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from open_responses.ids import member_id
from open_responses.json_types import JsonObject
from open_responses.schema.tools import FunctionTool
from open_responses.tool_use.built_in_row import Opening
from open_responses.tool_use.container_files import FOLDER

CODE_INTERPRETER = "code_interpreter"
INPUT_FILES = "open_responses:input_files"
"""A member of the tool's settings: the files of `/v1/files` that the request's input names."""
WHOLE_PYTHON = "open_responses:whole_python"
"""A member of the tool's settings: the code runs in CPython."""
_WHOLE = "It is CPython with its standard library, in a sandbox without a network. "
_PYTHON = (
    "Runs Python code and returns what it prints, and the value of a last line that is an expression. Variables and "
    "functions stay from call to call. "
)
_SUBSET = (
    "The Python is a sandboxed subset: the built-in types, functions, classes, "
    "comprehensions, exceptions, f-strings, async, and the standard modules asyncio, collections, csv, datetime, "
    "decimal, functools, itertools, json, math, random, re, string, sys, time and typing as far as they exist. There "
    "is no network, and there are no other packages (no numpy, no pandas, no matplotlib), no generators (yield) and no "
    "del statement. "
)
_NO_FILES = "There are no files."
_FILES = (
    f"Files are in {FOLDER}, the current directory: os.listdir() has their names, open() reads and writes them. They "
    "stay from call to call, and a file that the code writes can be given to the user. "
)
_FILES_OF_THE_USER = "The files of the user are there."


def interpreter_functions(settings: JsonObject) -> Sequence[FunctionTool]:
    """Return the function of a `code_interpreter` with these settings. Its description says what files there are."""
    container = settings.get("container")
    has_files = isinstance(container, dict) and bool(container.get("file_ids"))
    about = (
        _PYTHON
        + (_WHOLE if settings.get(WHOLE_PYTHON) else _SUBSET)
        + _FILES
        + (_FILES_OF_THE_USER if has_files or settings.get(INPUT_FILES) else "")
    )
    return (_function_of_code(CODE_INTERPRETER, about.rstrip(), "The Python code."),)


def _function_of_code(name: str, description: str, about_code: str) -> FunctionTool:
    return FunctionTool(
        type="function",
        name=name,
        description=description,
        parameters={
            "type": "object",
            "properties": {"code": {"type": "string", "description": about_code}},
            "required": ["code"],
            "additionalProperties": False,
        },
    )


def interpreter_opening(opening: Opening) -> JsonObject:
    """Return the first members of a `code_interpreter_call`.

    The container is the one that the request names, or that of the newest call in the context, or a new one.
    """
    asked, newest = opening.settings.get("container"), opening.newest or {}
    container = asked if isinstance(asked, str) else newest.get("container_id")
    return {
        "code": "",
        "container_id": container or member_id("cntr_", opening.response_id, 0),
        "outputs": [],
    }


PROGRAMS = "programmatic_tool_calling"
RUN_PROGRAM = "run_program"
_PROGRAM = (
    "Runs a Python program that calls functions, and returns what it prints. Use it for many calls, for loops over "
    "records, and to filter or combine results without reading them all. Call a function with its arguments by name: "
    "`await name(argument=value)`. Await several together with asyncio.gather to run them side by side. A result that "
    "is a JSON object or array arrives as a dict or list, any other as a string. A failed call raises RuntimeError. "
    "The program starts anew each time, and sees no variables of earlier ones. Print what you want to read. "
)


def program_functions(_: JsonObject) -> Sequence[FunctionTool]:
    """Return the function that runs programs. The tool table adds what a program may call to its description."""
    return (_function_of_code(RUN_PROGRAM, _PROGRAM + _SUBSET + _NO_FILES, "The Python program."),)


def program_opening(opening: Opening) -> JsonObject:
    """Return the first members of a `program`. Its fingerprint is the SHA-256 of the code."""
    code = opening.arguments.get("code")
    written = code if isinstance(code, str) else ""
    fingerprint = hashlib.sha256(written.encode("utf-8", "replace")).hexdigest()
    return {"call_id": f"call_{opening.item_id.partition('_')[2]}", "code": written, "fingerprint": fingerprint}
