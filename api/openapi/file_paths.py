"""The paths of `/v1/files` and `/v1/vector_stores` in the OpenAPI document."""

from __future__ import annotations

from api.files.routes import LONGEST_LIFE, LONGEST_PAGE, SHORTEST_LIFE
from api.openapi.operation import operation, page, parameter
from api.openapi.schemas import ref
from open_responses.io.files.store_rows import STATUSES
from open_responses.json_types import JsonObject
from open_responses.schema.file_bodies import PURPOSES
from open_responses.schema.vector_store_requests import (
    AttachFile,
    CreateFileBatch,
    CreateVectorStore,
    ModifyAttributes,
    ModifyVectorStore,
    SearchVectorStore,
)


def file_paths() -> JsonObject:
    return {**_files(), **_vector_stores(), **_files_of_stores(), **_batches()}


def _files() -> JsonObject:
    file_id = parameter("file_id", "path")
    listed = [one for one in page() if one["name"] != "limit"]
    limit = {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE, "default": LONGEST_PAGE}
    return {
        "/v1/files": {
            "get": operation(
                "listFiles",
                "List files",
                {200: ("", ref("FilePage"), {})},
                parameters=[*listed, parameter("limit", "query", limit), parameter("purpose", "query")],
                errors=(400, 404),
            ),
            "post": _upload(),
        },
        "/v1/files/{file_id}": {
            "get": operation(
                "getFile", "Get a file", {200: ("", ref("FileObject"), {})}, parameters=[file_id], errors=(404,)
            ),
            "delete": operation(
                "deleteFile",
                "Delete a file, and what was made of it",
                {200: ("", ref("DeletedFile"), {})},
                parameters=[file_id],
                errors=(404,),
            ),
        },
        "/v1/files/{file_id}/content": {"get": _content(file_id)},
    }


def _upload() -> JsonObject:
    described = operation(
        "createFile",
        "Upload a file",
        {200: ("", ref("FileObject"), {})},
        errors=(400, 408, 413, 415),
    )
    form: JsonObject = {
        "type": "object",
        "required": ["file", "purpose"],
        "additionalProperties": False,
        "properties": {
            "file": {"type": "string", "format": "binary"},
            "purpose": {"type": "string", "enum": list(PURPOSES)},
            "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
            "expires_after[seconds]": {"type": "integer", "minimum": SHORTEST_LIFE, "maximum": LONGEST_LIFE},
        },
    }
    described["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": form}}}
    return described


def _content(file_id: JsonObject) -> JsonObject:
    described = operation(
        "getFileContent", "Get the bytes of a file", {200: ("The bytes.", {}, {})}, parameters=[file_id], errors=(404,)
    )
    octets = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    described["responses"]["200"]["content"] = octets
    return described


_STORE = "/v1/vector_stores/{vector_store_id}"


def _store_id() -> JsonObject:
    return parameter("vector_store_id", "path")


def _answer(schema: str) -> dict[int, tuple[str, JsonObject, JsonObject]]:
    return {200: ("", ref(schema), {})}


def _page_of_files() -> list[JsonObject]:
    return [*page(), parameter("before", "query"), parameter("filter", "query", {"enum": list(STATUSES)})]


def _vector_stores() -> JsonObject:
    store = _answer("VectorStore")
    return {
        "/v1/vector_stores": {
            "get": operation(
                "listVectorStores",
                "List vector stores",
                {200: ("", ref("VectorStorePage"), {})},
                parameters=[*page(), parameter("before", "query")],
                errors=(400, 404),
            ),
            "post": operation(
                "createVectorStore",
                "Create a vector store, empty or with files",
                store,
                request=CreateVectorStore,
                may_be_empty=True,
                errors=(404,),
            ),
        },
        _STORE: {
            "get": operation("getVectorStore", "Get a vector store", store, parameters=[_store_id()], errors=(404,)),
            "post": operation(
                "modifyVectorStore",
                "Change the name, the metadata or the expiry of a vector store",
                store,
                parameters=[_store_id()],
                request=ModifyVectorStore,
                may_be_empty=True,
                errors=(404,),
            ),
            "delete": operation(
                "deleteVectorStore",
                "Delete a vector store. Its files are kept",
                {200: ("", ref("DeletedVectorStore"), {})},
                parameters=[_store_id()],
                errors=(404,),
            ),
        },
        f"{_STORE}/search": {
            "post": operation(
                "searchVectorStore",
                "Search a vector store",
                {200: ("", ref("SearchResultsPage"), {})},
                parameters=[_store_id()],
                request=SearchVectorStore,
                errors=(404, 409),
            )
        },
    }


def _files_of_stores() -> JsonObject:
    both = [_store_id(), parameter("file_id", "path")]
    file = _answer("VectorStoreFile")
    return {
        f"{_STORE}/files": {
            "get": operation(
                "listVectorStoreFiles",
                "List the files of a vector store",
                {200: ("", ref("VectorStoreFilePage"), {})},
                parameters=[_store_id(), *_page_of_files()],
                errors=(400, 404),
            ),
            "post": operation(
                "attachFile",
                "Attach a file to a vector store",
                file,
                parameters=[_store_id()],
                request=AttachFile,
                errors=(404,),
            ),
        },
        f"{_STORE}/files/{{file_id}}": {
            "get": operation(
                "getVectorStoreFile", "Get a file of a vector store", file, parameters=both, errors=(404,)
            ),
            "post": operation(
                "modifyVectorStoreFile",
                "Replace the attributes of a file of a vector store",
                file,
                parameters=both,
                request=ModifyAttributes,
                errors=(404,),
            ),
            "delete": operation(
                "removeFile",
                "Remove a file from a vector store. The file itself is kept",
                {200: ("", ref("DeletedVectorStoreFile"), {})},
                parameters=both,
                errors=(404,),
            ),
        },
        f"{_STORE}/files/{{file_id}}/content": {
            "get": operation(
                "getVectorStoreFileContent",
                "Get the text of a file of a vector store",
                {200: ("", ref("FileContentPage"), {})},
                parameters=both,
                errors=(400, 404),
            )
        },
    }


def _batches() -> JsonObject:
    both = [_store_id(), parameter("batch_id", "path")]
    batch = _answer("VectorStoreFileBatch")
    return {
        f"{_STORE}/file_batches": {
            "post": operation(
                "createFileBatch",
                "Attach files to a vector store",
                batch,
                parameters=[_store_id()],
                request=CreateFileBatch,
                errors=(404,),
            )
        },
        f"{_STORE}/file_batches/{{batch_id}}": {
            "get": operation("getFileBatch", "Get a batch of files", batch, parameters=both, errors=(404,))
        },
        f"{_STORE}/file_batches/{{batch_id}}/cancel": {
            "post": operation(
                "cancelFileBatch", "Stop the ingestion of a batch of files", batch, parameters=both, errors=(404,)
            )
        },
        f"{_STORE}/file_batches/{{batch_id}}/files": {
            "get": operation(
                "listBatchFiles",
                "List the files of a batch",
                {200: ("", ref("VectorStoreFilePage"), {})},
                parameters=[*both, *_page_of_files()],
                errors=(400, 404),
            )
        },
    }
