"""The JSON bodies of `/v1/containers`, with the forms of OpenAI's API."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from open_responses.schema.validation import RequestObject
from open_responses.schema.vector_store_requests import FileId

MOST_NAMED = 50
"""Files that one request brings into a container."""

_MONTH_MINUTES = 30 * 24 * 60


class ContainerExpiresAfter(RequestObject):
    """Minutes after the container was last used."""

    anchor: Literal["last_active_at"]
    minutes: Annotated[int, Field(ge=1, le=_MONTH_MINUTES)]


class NoNetwork(RequestObject):
    """Code of this server's interpreter has no network."""

    type: Literal["disabled"]


class CreateContainer(RequestObject):
    """`POST /v1/containers`. `memory_limit` is accepted, and the configuration's limit holds."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    expires_after: ContainerExpiresAfter | None = None
    file_ids: Annotated[list[FileId], Field(max_length=MOST_NAMED, fail_fast=True)] | None = None
    memory_limit: Literal["1g", "4g", "16g", "64g"] | None = None
    network_policy: NoNetwork | None = None


class AddContainerFile(RequestObject):
    """`POST /v1/containers/{id}/files` in JSON: a file of `/v1/files`."""

    file_id: FileId


class ContainerExpiry(TypedDict):
    """When an unused container is deleted."""

    anchor: Literal["last_active_at"]
    minutes: int


class ContainerNetwork(TypedDict):
    """No network."""

    type: Literal["disabled"]


class Container(TypedDict):
    """A container."""

    id: str
    object: Literal["container"]
    created_at: int
    status: Literal["running"]
    expires_after: ContainerExpiry
    last_active_at: int
    name: str
    network_policy: ContainerNetwork


class ContainerPage(TypedDict):
    """One page of a list of containers."""

    object: Literal["list"]
    data: list[Container]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedContainer(TypedDict):
    """The answer to a deletion."""

    id: str
    object: Literal["container.deleted"]
    deleted: Literal[True]


class ContainerFileObject(TypedDict):
    """A file of a container. `source`: `assistant` if code has written it, `user` if not."""

    id: str
    object: Literal["container.file"]
    created_at: int
    bytes: int
    container_id: str
    path: str
    source: Literal["user", "assistant"]


class ContainerFilePage(TypedDict):
    """One page of a list of a container's files."""

    object: Literal["list"]
    data: list[ContainerFileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedContainerFile(TypedDict):
    """The answer to a deletion."""

    id: str
    object: Literal["container.file.deleted"]
    deleted: Literal[True]
