"""The settings that every built-in tool of this server has in the configuration file.

A tool's own table, such as `[web_search]`, is a subclass with the tool's own settings, in a module of its own.
"""

from __future__ import annotations

from pydantic import Field

from open_responses.config_tables.table import Table


class BuiltInToolConfig(Table):
    """The table of a built-in tool. The table in the file enables the tool.

    Attributes:
        target: An engine of your own in place of the server's, as `my_package.module:Engine`.
        prefer: Whether this server runs the tool even for a provider that has it itself.
        timeout_seconds: The longest time of one attempt at a call.
        max_attempts: The number of attempts at a call in all.
        retry_seconds: The pause before the second attempt. Each later pause is twice as long.
        require_approval: Whether a person must approve each call.
    """

    target: str | None = Field(default=None, pattern=r"^[\w.]+:\w+$")
    prefer: bool = False
    timeout_seconds: float = Field(default=60, gt=0, le=3600)
    max_attempts: int = Field(default=3, ge=1)
    retry_seconds: float = Field(default=1, gt=0)
    require_approval: bool = False
