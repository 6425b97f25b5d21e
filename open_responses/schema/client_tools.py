"""Tools that the client runs and that are no plain functions: custom tools, shells and patches (REQ-2).

A provider of OpenAI's kind gets them as they were sent. For any other provider each becomes a function
(`open_responses/tool_use/client_functions.py`).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Field, Tag, model_validator

from open_responses.schema.grammars import MAX_GRAMMAR, check_grammar
from open_responses.schema.names import FunctionName
from open_responses.schema.validation import RequestObject, by_type, fault, member

Callers: TypeAlias = Annotated[list[Literal["direct", "programmatic"]], Field(max_length=2)]
"""Who may call a tool: the model itself, or a program that it writes for OpenAI's `programmatic_tool_calling`."""


class FreeText(RequestObject):
    """Any text."""

    type: Literal["text"]


class Grammar(RequestObject):
    """Text that a grammar describes. Only OpenAI enforces it; other models read it in the tool's description."""

    type: Literal["grammar"]
    syntax: Literal["lark", "regex"]
    definition: Annotated[str, Field(max_length=MAX_GRAMMAR)]

    @model_validator(mode="after")
    def _is_a_grammar(self) -> Grammar:
        check_grammar(self.syntax, self.definition)
        return self


CustomFormat: TypeAlias = Annotated[
    Annotated[FreeText, Tag("<text>")] | Annotated[Grammar, Tag("<grammar>")],
    by_type("an object with a format", "text", "grammar"),
]


class CustomTool(RequestObject):
    """A tool whose input is free text, not a JSON object. The client runs it."""

    # The Chat Completions shape.
    UNSUPPORTED: ClassVar[dict[str, str]] = {
        "custom": "name, description and format stand beside type in the Responses API",
    }

    type: Literal["custom"]
    name: FunctionName
    description: str | None = None
    format: CustomFormat | None = None
    defer_loading: bool | None = None
    allowed_callers: Callers | None = None
    is_async: bool | None = Field(default=None, alias="async")


class ShellTool(RequestObject):
    """OpenAI's `shell` tool: commands that the client runs, or with a container as `environment`, OpenAI."""

    type: Literal["shell"]
    environment: dict[str, Any] | None = None
    allowed_callers: Callers | None = None

    @property
    def is_hosted(self) -> bool:
        """Whether the commands run in a container of OpenAI's."""
        return self.environment is not None and self.environment.get("type") != "local"

    @model_validator(mode="after")
    def _environment_has_a_type(self) -> ShellTool:
        if self.environment is not None and not isinstance(self.environment.get("type"), str):
            raise fault("missing_required_parameter", "", field="environment.type")
        return self


class LocalShellTool(RequestObject):
    """OpenAI's `local_shell` tool: one command that the client runs."""

    type: Literal["local_shell"]


class ApplyPatchTool(RequestObject):
    """OpenAI's `apply_patch` tool: files that the client creates, changes and deletes by diffs."""

    type: Literal["apply_patch"]
    allowed_callers: Callers | None = None


COMPUTER_TOOLS = frozenset({"computer", "computer_use", "computer_use_preview"})
"""Tools for a screen, whose pictures and coordinates no function can stand for. Only OpenAI has them in this form."""


def is_computer(tool: object) -> bool:
    """Return whether a tool is one of `COMPUTER_TOOLS`."""
    return member(tool, "type") in COMPUTER_TOOLS
