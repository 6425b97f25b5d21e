"""The paths of `/v1/containers` in the OpenAPI document."""

from __future__ import annotations

from api.openapi.operation import operation, page, parameter
from api.openapi.schemas import ref
from open_responses.json_types import JsonObject
from open_responses.schema.container_bodies import CreateContainer

_CONTAINER = "/v1/containers/{container_id}"


def container_paths() -> JsonObject:
    return {**_containers(), **_files()}


def _id() -> JsonObject:
    return parameter("container_id", "path")


def _answer(schema: str) -> dict[int, tuple[str, JsonObject, JsonObject]]:
    return {200: ("", ref(schema), {})}


def _containers() -> JsonObject:
    return {
        "/v1/containers": {
            "get": operation(
                "listContainers",
                "List containers of the code interpreter",
                _answer("ContainerPage"),
                parameters=[*page(), parameter("name", "query")],
                errors=(400, 404),
            ),
            "post": operation(
                "createContainer",
                "Create a container for the code interpreter, empty or with files",
                _answer("Container"),
                request=CreateContainer,
                errors=(404,),
            ),
        },
        _CONTAINER: {
            "get": operation(
                "getContainer", "Get a container", _answer("Container"), parameters=[_id()], errors=(404,)
            ),
            "delete": operation(
                "deleteContainer",
                "Delete a container, its variables and its files",
                _answer("DeletedContainer"),
                parameters=[_id()],
                errors=(404, 409),
            ),
        },
    }


def _files() -> JsonObject:
    both = [_id(), parameter("file_id", "path")]
    return {
        f"{_CONTAINER}/files": {
            "get": operation(
                "listContainerFiles",
                "List the files of a container",
                _answer("ContainerFilePage"),
                parameters=[_id(), *page()],
                errors=(400, 404),
            ),
            "post": _upload(),
        },
        f"{_CONTAINER}/files/{{file_id}}": {
            "get": operation(
                "getContainerFile",
                "Get a file of a container",
                _answer("ContainerFileObject"),
                parameters=both,
                errors=(404,),
            ),
            "delete": operation(
                "deleteContainerFile",
                "Delete a file of a container. A file of `/v1/files` itself is kept",
                _answer("DeletedContainerFile"),
                parameters=both,
                errors=(404, 409),
            ),
        },
        f"{_CONTAINER}/files/{{file_id}}/content": {"get": _content(both)},
    }


def _upload() -> JsonObject:
    described = operation(
        "createContainerFile",
        "Upload a file into a container, or add one of `/v1/files`",
        _answer("ContainerFileObject"),
        parameters=[_id()],
        errors=(400, 404, 408, 409, 413, 415),
    )
    form: JsonObject = {
        "type": "object",
        "required": ["file"],
        "additionalProperties": False,
        "properties": {"file": {"type": "string", "format": "binary"}},
    }
    described["requestBody"] = {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": form},
            "application/json": {"schema": ref("AddContainerFile")},
        },
    }
    return described


def _content(parameters: list[JsonObject]) -> JsonObject:
    described = operation(
        "getContainerFileContent",
        "Get the bytes of a file of a container",
        {200: ("The bytes.", {}, {})},
        parameters=parameters,
        errors=(404, 409),
    )
    octets = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    described["responses"]["200"]["content"] = octets
    return described
