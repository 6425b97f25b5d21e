"""Items to OpenAI's `input`: the whole conversation, stored nowhere.

Ids of items are left out wherever OpenAI does not demand them: it refuses one without the item's prefix ("Expected an
ID that begins with 'msg'") and looks others up that it never stored ("Items are not persisted when `store` is set to
false"). Members that OpenAI does not know are refused too, so that each item is written from the members it has.

Sources: OpenAI's API reference, `POST /responses`, by the types of its Python SDK (openai 3.54,
`types/responses/response_input_item_param.py`), and its refusals as reported in openai/codex#33176 (ids),
vercel/ai#7543 and its fixture `issue-22343-live-web-search-store-false.json` (`store: false`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from activities.providers.openai.reasoning import reasoning_items
from activities.providers.shared.content_parts import Part, unsupported_content
from activities.providers.shared.data_urls import as_data_url, read_data_url, suffix_of
from activities.providers.shared.foreign_items import leave_out
from activities.providers.shared.json_objects import whole_arguments
from open_responses.json_types import JsonObject
from open_responses.schema.client_items import (
    AdditionalTools,
    ClientCall,
    ClientCallOutput,
    ConfigurationUpdate,
    CustomToolCall,
    CustomToolCallOutput,
)
from open_responses.schema.content import InputFile, InputImage, InputText, LenientObject, OutputText, Refusal
from open_responses.schema.items import (
    CALLS,
    AssistantMessage,
    DeveloperMessage,
    FunctionCall,
    FunctionCallOutput,
    InputItem,
    OpaqueItem,
    Reasoning,
    SystemMessage,
    UserMessage,
)

_ID_PREFIXES = {
    "code_interpreter_call": "ci_",
    "computer_call": "cu_",
    "file_search_call": "fs_",
    "image_generation_call": "ig_",
    "local_shell_call": "lsh_",
    "program": "prog_",
    "program_output": "prog_",
    "web_search_call": "ws_",
}
# The types of annotations that OpenAI accepts in the input. Other providers have types of their own.
_ANNOTATIONS = frozenset({"container_file_citation", "file_citation", "file_path", "url_citation"})
_PDF = "application/pdf"


def input_items(items: Sequence[InputItem], provider: str, *, stored: bool = False) -> list[JsonObject]:
    """Return the conversation as items. `stored`: OpenAI stores the items of this conversation under their ids."""
    written: list[JsonObject] = []
    for index, item in enumerate(items):
        if isinstance(item, Reasoning):
            written += reasoning_items(item, provider, stored) if _is_followed(items, index) else []
        elif (plain := _item(item, index)) is not None:
            written.append(plain)
        else:
            leave_out(item, index, provider)
    return written


def _item(item: InputItem, index: int) -> JsonObject | None:
    """Return the item; None if OpenAI has no form for it."""
    match item:
        case UserMessage() | SystemMessage() | DeveloperMessage():
            content = _content(item.content, f"input[{index}].content", {"detail": "auto"})
            return {"type": "message", "role": item.role, "content": content}
        case AssistantMessage():
            phase = {"phase": item.phase} if item.phase is not None else {}
            return {"type": "message", "role": "assistant", "content": _answer(item.content), **phase}
        case FunctionCall():
            call = {"type": "function_call", "call_id": item.call_id, "name": item.name}
            return {**call, "arguments": whole_arguments(item.arguments) or "{}", **_given(item)}
        case CustomToolCall():
            call = {"type": "custom_tool_call", "call_id": item.call_id, "name": item.name}
            return {**call, "input": item.input, **_given(item)}
        case FunctionCallOutput() | CustomToolCallOutput():
            output = _content(item.output, f"input[{index}].output", {})
            return {"type": item.type, "call_id": item.call_id, "output": output, **_given(item)}
        case ClientCall() | ClientCallOutput() | AdditionalTools() | ConfigurationUpdate():
            return _as_sent(item)
        case OpaqueItem() if item.is_from("openai"):
            return item.model_dump(mode="json", exclude_unset=True) | {"id": _id_of(item)}
    return None


def _given(item: LenientObject) -> JsonObject:
    """Members that only some calls and outputs have: a namespace, and the program that made the call."""
    extra = item.model_extra or {}
    found = {"namespace": getattr(item, "namespace", None), "caller": extra.get("caller"), "async": extra.get("async")}
    return {name: value for name, value in found.items() if value is not None}


def _as_sent(item: ClientCall | ClientCallOutput | AdditionalTools | ConfigurationUpdate) -> JsonObject:
    """The item, without an id where OpenAI does not demand one."""
    written: JsonObject = item.model_dump(mode="json", exclude_unset=True, exclude={"id", "created_by"})
    if item.type == "local_shell_call_output":
        # OpenAI has the call's id under this name. An item of a conversation has an `id` of its own beside `call_id`.
        return {"id": written.pop("call_id", None) or item.id, **written}
    if item.type in _ID_PREFIXES:
        written["id"] = _id_of(item)
    return written


def _answer(content: Any) -> str | list[JsonObject]:
    """Return a content of plain text as a string: OpenAI and all compatible servers accept this form."""
    if isinstance(content, str):
        return content
    parts = [_answer_part(part) for part in content]
    if len(parts) == 1 and parts[0]["type"] == "output_text" and not parts[0]["annotations"]:
        return str(parts[0]["text"])
    return parts


def _answer_part(part: OutputText | Refusal) -> JsonObject:
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.refusal}
    annotations = [a.model_dump(mode="json", exclude_unset=True) for a in part.annotations or []]
    known = [annotation for annotation in annotations if annotation["type"] in _ANNOTATIONS]
    return {"type": "output_text", "text": part.text, "annotations": known}


def _content(content: str | Sequence[Part], path: str, image: JsonObject) -> str | list[JsonObject]:
    if isinstance(content, str):
        return content
    return [_part(part, f"{path}[{index}]", image) for index, part in enumerate(content)]


def _part(part: Part, path: str, image: JsonObject) -> JsonObject:
    """Return the part. `image` are the defaults of an image: the API's reference requires `detail` in a message."""
    match part:
        case InputText():
            written: JsonObject = {"type": "input_text", "text": part.text}
        case InputImage():
            written = {"type": "input_image", **image, **_image(part)}
        case InputFile():
            written = {"type": "input_file", **_file(part)}
        case _:
            # "Invalid value: 'input_audio'": the Responses API has no sound (community.openai.com/t/1364108).
            raise unsupported_content(f"a content part of type {part.type!r}", path)
    breakpoint_ = (part.model_extra or {}).get("prompt_cache_breakpoint")
    return written if breakpoint_ is None else {**written, "prompt_cache_breakpoint": breakpoint_}


def _image(part: InputImage) -> JsonObject:
    source = {"file_id": part.file_id} if part.image_url is None else {"image_url": part.image_url}
    return source | ({"detail": part.detail} if part.detail is not None else {})


def _file(part: InputFile) -> JsonObject:
    """Return the file with one source, as OpenAI requires. Data becomes a data URL with a name whose suffix is the
    file's type."""
    detail = (part.model_extra or {}).get("detail")
    shown = {} if detail is None else {"detail": detail}
    if part.file_data is None:
        return ({"file_url": part.file_url} if part.file_url is not None else {"file_id": part.file_id}) | shown
    url = as_data_url(part.file_data, part.filename)
    read = read_data_url(url)
    name = part.filename or f"file{suffix_of(read.kind or _PDF if read else _PDF)}"
    return {"filename": name, "file_data": url} | shown


def _is_followed(items: Sequence[InputItem], index: int) -> bool:
    """Whether the item that the reasoning led to follows it. OpenAI rejects reasoning "without its required following
    item"."""
    for item in items[index + 1 :]:
        if not isinstance(item, Reasoning):
            return isinstance(item, (AssistantMessage, *CALLS)) or (
                isinstance(item, OpaqueItem) and item.is_from("openai")
            )
    return False


def _id_of(item: OpaqueItem | ClientCall | ClientCallOutput | AdditionalTools | ConfigurationUpdate) -> str:
    """Return an id for an item that needs one. If nothing is stored, OpenAI checks only its prefix."""
    prefix, given = _ID_PREFIXES[item.type], item.id or "0"
    return given if given.startswith(prefix) else prefix + given.rpartition("_")[2]
