"""The configuration of code that a model writes: `[code_interpreter]` and `[programmatic_tool_calling]`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from open_responses.config_tables.built_in import BuiltInToolConfig

# What an attempt needs beside the code's own time: a free process, and the state's way to disk.
_BESIDE_SECONDS = 10.0


class InterpreterConfig(BuiltInToolConfig):
    """The limits of code that a model writes.

    Attributes:
        run_seconds: The longest time that code runs, and the longest time that it sleeps. At most half of
            `timeout_seconds`, less 5.
        memory_mb: The largest heap of the interpreter, in MiB.
        max_output_kb: The longest output of one run, in KiB. The rest is left out, and the model reads so.
        max_state_mb: The largest state (variables, functions and code) that is kept, in MiB.
        processes: The interpreters that run at a time in each worker; the number of its processors if None.
    """

    run_seconds: float = Field(default=20, gt=0, le=600)
    memory_mb: int = Field(default=128, ge=8, le=4096)
    max_output_kb: int = Field(default=100, ge=1, le=1024)
    max_state_mb: int = Field(default=4, ge=1, le=64)
    processes: int | None = Field(default=None, ge=1, le=64)

    @model_validator(mode="after")
    def _ends_by_itself(self) -> InterpreterConfig:
        needed = 2 * self.run_seconds + _BESIDE_SECONDS
        if self.timeout_seconds < needed:
            raise ValueError(
                f"timeout_seconds must be at least {needed:g}: twice run_seconds, and {_BESIDE_SECONDS:g}. Raise it, "
                "or lower run_seconds"
            )
        return self


class BubblewrapConfig(BaseModel):
    """The sandbox of the backend `bubblewrap`.

    Attributes:
        command: The program `bwrap`, by name or path.
        python: The Python that runs the code; its packages are those that the code can import.
        read_only: The paths of the worker's machine that the code can read. All others are not there.
        max_processes: The most processes and threads of one run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: str = "bwrap"
    python: str = Field(default="/usr/bin/python3", pattern="^/")
    read_only: tuple[str, ...] = Field(default=("/usr", "/bin", "/lib", "/lib64"), max_length=64)
    max_processes: int = Field(default=64, ge=4, le=4096)

    @field_validator("read_only")
    @classmethod
    def _are_paths(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        for path in paths:
            if not path.startswith("/") or path.rstrip("/") in ("", "/proc", "/dev", "/run", "/tmp", "/mnt"):
                raise ValueError(f"{path!r} must be an absolute path, and none of /, /proc, /dev, /run, /tmp and /mnt")
        return paths


class CodeInterpreterConfig(InterpreterConfig):
    """The `[code_interpreter]` table.

    Attributes:
        backend: `embedded` runs a subset of Python in Monty, `bubblewrap` CPython in namespaces of the Linux kernel.
            With `bubblewrap`, `memory_mb` is the memory of each process of the code.
        bubblewrap: The sandbox of the backend `bubblewrap`.
        idle_hours: A container that was not used for so long is deleted. At most
            `OPEN_RESPONSES_BLOB_TTL_SECONDS`.
        max_files_mb: The size of all files of a container, and the most that one call writes, in MiB.
        max_tenant_mb: The size of all containers of a tenant on disk, in MiB. Code and uploads that would add files
            then are refused, and a container without files keeps nothing.
        max_containers: A tenant that has so many makes no other one with `POST /v1/containers`. Those that responses
            begin count, and are not bounded.
    """

    backend: Literal["embedded", "bubblewrap"] = "embedded"
    bubblewrap: BubblewrapConfig = BubblewrapConfig()
    idle_hours: float = Field(default=24, gt=0, le=24 * 365)
    max_files_mb: int = Field(default=64, ge=1, le=1024)
    max_tenant_mb: int = Field(default=10 * 1024, ge=1)
    max_containers: int = Field(default=1000, ge=1, le=1_000_000)


class ProgramConfig(InterpreterConfig):
    """The `[programmatic_tool_calling]` table.

    Attributes:
        max_calls: The most calls of one program, beside the request's `max_tool_calls`.
        max_parallel: The most calls for which a program may wait at a time.
    """

    max_calls: int = Field(default=1000, ge=1, le=100_000)
    max_parallel: int = Field(default=100, ge=1, le=1000)

    @model_validator(mode="after")
    def _asks_nobody(self) -> ProgramConfig:
        if self.require_approval or self.target is not None:
            raise ValueError(
                "[programmatic_tool_calling] takes neither require_approval nor target: set require_approval for the "
                "tools that a program must not call by itself"
            )
        return self
