"""The JSON bodies of `/v1/files`, with the forms of OpenAI's API."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

PURPOSES = ("assistants", "user_data", "vision")
"""What a file may be for. OpenAI's other purposes (`batch`, `fine-tune`, `evals`) need APIs that this server lacks."""


class FileObject(TypedDict):
    """A file. `status` and `status_details` are deprecated in OpenAI's API, and its SDK expects the first."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: str
    status: Literal["processed"]
    status_details: None


class FilePage(TypedDict):
    """One page of a list of files."""

    object: Literal["list"]
    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedFile(TypedDict):
    """The answer to a deletion."""

    id: str
    object: Literal["file"]
    deleted: Literal[True]
