"""`make reference`: writes the tables of `docs/configuration.md` from the code that reads the settings.

`tests/unit/test_settings_reference.py` fails while the page and the code do not agree.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from dev.settings import DevSettings
from open_responses.config import Config
from open_responses.io.settings import Settings, environment_names

PAGE = Path("docs/configuration.md")
_BEGIN = "<!-- Written by `make reference`. -->"
_END = "<!-- The end of what `make reference` writes. -->"
_SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean", Path: "path"}


def main() -> int:
    """Exit code 0."""
    argparse.ArgumentParser(prog="make reference", description=__doc__).parse_args()
    PAGE.write_text(with_reference(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


def with_reference(page: str) -> str:
    """The page, with the tables of the current code between its two marks."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n\n{reference()}\n{_END}{after}"


def reference() -> str:
    """The reference of the configuration file and of the environment."""
    lines = ["## The configuration file", *_tables(), "## Environment variables", ""]
    lines += [*_variables(Settings), "", "## Environment variables of `make dev`", "", *_variables(DevSettings), ""]
    return "\n".join(lines)


# --- the configuration file


def _tables() -> Iterator[str]:
    yield from ("", "Keys outside of any table:", "")
    yield from _keys(Config)
    for title, table in _inner(Config, ""):
        yield from (title, "")
        yield from _keys(table)


def _inner(table: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """The headings of the tables inside a table, and the tables."""
    for name, field in table.model_fields.items():
        found = _model_in(field.annotation)
        if found is not None:
            whole = f"{path}{name}"
            yield f"### `[[{whole}]]`" if get_origin(field.annotation) is tuple else f"### `[{whole}]`", found
            yield from _inner(found, f"{whole}.")


def _keys(table: type[BaseModel]) -> Iterator[str]:
    yield "| key | type | default | |"
    yield "|---|---|---|---|"
    said = _attributes(table)
    for name, field in table.model_fields.items():
        if _model_in(field.annotation) is None:
            yield f"| `{name}` | {_type(field.annotation)} | {_default(name, field)} | {said[name]} |"
    yield ""


def _attributes(table: type[BaseModel]) -> dict[str, str]:
    """The descriptions in the `Attributes` of a class and of those that it inherits from. Raises KeyError later for a
    field without one."""
    said: dict[str, str] = {}
    for one in reversed(table.__mro__):
        if issubclass(one, BaseModel) and one is not BaseModel:
            said |= _own_attributes(one)
    return said


def _own_attributes(table: type[BaseModel]) -> dict[str, str]:
    _, _, section = inspect.cleandoc(table.__doc__ or "").partition("Attributes:\n")
    entries = re.split(r"^ {4}(?=\w+: )", section, flags=re.MULTILINE)[1:]
    pairs = (entry.partition(": ") for entry in entries)
    # The file has no None.
    return {name: _one_line(text).replace("f None", "f absent") for name, _, text in pairs}


# --- the environment


def _variables(settings: type[BaseSettings]) -> Iterator[str]:
    yield "| variable | type | default | |"
    yield "|---|---|---|---|"
    said = _docstrings(settings)
    for name, field in settings.model_fields.items():
        first, *others = environment_names(settings, name)
        also = f". `{others[0]}` is read as well" if others else ""
        text = said[name].rstrip(".") + f"{also}." if also else said[name]
        yield f"| `{first}` | {_type(field.annotation)} | {_default(name, field)} | {text} |"


def _docstrings(settings: type[BaseSettings]) -> dict[str, str]:
    """The string below each field."""
    (found,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(settings))).body
    assert isinstance(found, ast.ClassDef)
    texts = {}
    for field, text in zip(found.body, found.body[1:], strict=False):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(value))):
                texts[name] = _one_line(value)
    return texts


# --- cells


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _type(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f'`"{value}"`' for value in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type(one) for one in inner if one is not type(None)))
    if origin is tuple:
        return f"array of {_type(inner[0])}"
    if origin is dict or annotation is dict:
        return "table"
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    # An alias of JSON objects, or an enumeration.
    return "table" if "dict" in str(annotation) or "Mapping" in str(annotation) else _enumerated(annotation)


def _enumerated(annotation: Any) -> str:
    return " or ".join(f'`"{one.value}"`' for one in annotation)


def _default(name: str, field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        return "host and process id" if name == "worker_id" else "empty"
    value = field.default
    if value is None or value in ("", ()):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    shown = f"{value:g}" if isinstance(value, float) and value == int(value) and value < 1e6 else str(value)
    return f"`{shown}`{_in_words(name, value)}"


def _in_words(name: str, value: Any) -> str:
    if name.endswith("_bytes"):
        return f" ({value // 1024**2} MiB)"
    if name.endswith("_seconds") and value >= 3600:
        days, hours = divmod(value / 3600, 24)
        return f" ({days:g} d)" if days and not hours else f" ({value / 3600:g} h)"
    return ""


def _model_in(annotation: Any) -> type[BaseModel] | None:
    found = [one for one in (annotation, *get_args(annotation)) if inspect.isclass(one) and issubclass(one, BaseModel)]
    return found[0] if found else None


if __name__ == "__main__":
    sys.exit(main())
