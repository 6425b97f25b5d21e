"""Items to Gemini's `systemInstruction` and `contents`.

What this prevents: a request that Gemini refuses because of its own rules of order. Roles alternate; the answers to one
turn's calls stand together right behind them, as many as there were calls; Gemini 3 wants the signature of its thoughts
back on the very part that carried it, and one on the first call of each step.

Sources: ai.google.dev/api/caching (Content, Part, FunctionResponse), /gemini-api/docs/thought-signatures,
/function-calling (media in answers), /file-input-methods (https addresses in `fileUri`); recorded requests of
pydantic-ai (`tests/models/cassettes/test_google`: ids of our own on calls and answers, an empty first user turn) and
vercel/ai (`packages/google/src/__fixtures__`: media behind an answer).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from open_responses.errors import InvalidRequest
from open_responses.items import (
    SLUG,
    AssistantMessage,
    DeveloperMessage,
    FunctionCall,
    FunctionCallOutput,
    InputAudio,
    InputFile,
    InputImage,
    InputItem,
    InputText,
    InputVideo,
    OpaqueItem,
    OutputText,
    Reasoning,
    Refusal,
    SystemMessage,
    UserMessage,
)
from open_responses.json_types import JsonObject
from open_responses.sealed_reasoning import content_for

# Google's documented stand-in for a call without a signature, made by another model or in an older one's history.
SKIP_SIGNATURE = "skip_thought_signature_validator"
GENERATED_IMAGE = "image_generation_call"

_MIME_BY_SUFFIX = {
    "aac": "audio/aac",
    "aiff": "audio/aiff",
    "flac": "audio/flac",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "m4a": "audio/m4a",
    "mov": "video/mov",
    "mp3": "audio/mp3",
    "mp4": "video/mp4",
    "mpeg": "video/mpeg",
    "ogg": "audio/ogg",
    "pdf": "application/pdf",
    "png": "image/png",
    "wav": "audio/wav",
    "webm": "video/webm",
    "webp": "image/webp",
}
# Sent as plain text: of these, Gemini knows some by name, and all by content.
_TEXT_SUFFIXES = frozenset(
    {"c", "cpp", "css", "csv", "go", "h", "htm", "html", "java", "js", "json", "md", "py", "rs", "sh", "sql", "toml"}
    | {"ts", "txt", "xml", "yaml", "yml"}
)
_TEXT_TYPE = re.compile(r"text/.*|application/(json|xml|yaml|x-yaml|javascript|x-javascript|toml|sql|.*\+(json|xml))")
# What Gemini 3 takes inside a function's answer; the rest goes behind it.
_ANSWER_TYPES = frozenset({"application/pdf", "image/jpeg", "image/png", "image/webp", "text/plain"})


def is_gemini_3(model: str) -> bool:
    """Whether the model is of the third generation or a later one; `gemini-flash-latest` and its like are."""
    name = model.rsplit("/", 1)[-1].lower()
    if not name.startswith("gemini-"):
        return False
    generation = re.search(r"-(\d{1,2})(?:[.-]|$)", name)
    return int(generation[1]) >= 3 if generation else name.endswith("-latest")


def system_and_contents(
    items: Sequence[InputItem], instructions: str | None, *, provider: str, model: str
) -> tuple[list[JsonObject], list[JsonObject]]:
    """(parts of the system instruction, contents). Raises InvalidRequest for what Gemini cannot take.

    System and developer messages at the beginning are part of the system instruction. Later ones stay where they are,
    as a marked text of the user's: moved to the front, they would change what came before them, and the cached prefix.
    """
    leading = 0
    while leading < len(items) and isinstance(items[leading], SystemMessage | DeveloperMessage):
        leading += 1
    system = [{"text": instructions}] if instructions else []
    for index, item in enumerate(items[:leading]):
        assert isinstance(item, SystemMessage | DeveloperMessage)
        system += _parts(item.content, f"input[{index}].content")
    conversation = _Conversation(items, provider, is_gemini_3(model))
    for index in range(leading, len(items)):
        conversation.add(index)
    return system, conversation.finished()


@dataclass(frozen=True, slots=True)
class _Step:
    """A model's turn with calls, and the user's turn that answers them with `answers` parts at its beginning."""

    model: JsonObject
    user: JsonObject
    answers: int


class _Conversation:
    """Builds contents item by item."""

    def __init__(self, items: Sequence[InputItem], provider: str, is_third: bool) -> None:
        self._items = items
        self._provider = provider
        self._is_third = is_third
        self._contents: list[JsonObject] = []
        self._signature: str | None = None
        self._waiting: list[tuple[int, FunctionCall]] = []
        self._signed_step: _Step | None = None
        self._answered: set[int] = set()
        self._outputs: dict[str, deque[int]] = defaultdict(deque)
        for index, item in enumerate(items):
            if isinstance(item, FunctionCallOutput):
                self._outputs[item.call_id].append(index)

    def add(self, index: int) -> None:
        item = self._items[index]
        match item:
            case UserMessage():
                self._user(_parts(item.content, f"input[{index}].content"))
            case SystemMessage() | DeveloperMessage():
                said = "\n\n".join(part["text"] for part in _parts(item.content, f"input[{index}].content"))
                self._user([{"text": f"<system_message>\n{said}\n</system_message>"}] if said else [])
            case AssistantMessage():
                self._model(_parts(item.content, f"input[{index}].content"))
            case FunctionCall():
                self._call(index, item)
            case FunctionCallOutput():
                self._output(index, item)
            case Reasoning():
                self._reasoning(item)
            case OpaqueItem():
                self._opaque(index, item)
            case _:
                raise _unsupported_item(index, getattr(item, "type", None))

    def finished(self) -> list[JsonObject]:
        """The contents, which begin with the user's turn, as Gemini wants them."""
        self._answer()
        if not self._contents or self._contents[0]["role"] == "model":
            self._contents.insert(0, {"role": "user", "parts": [{"text": ""}]})
        return self._contents

    def _add(self, role: str, parts: list[JsonObject]) -> None:
        if not parts:
            return
        if self._contents and self._contents[-1]["role"] == role:
            self._contents[-1]["parts"] += parts
        else:
            self._contents.append({"role": role, "parts": parts})

    def _user(self, parts: list[JsonObject]) -> None:
        self._answer()
        self._signature = self._signed_step = None
        self._add("user", parts)

    def _model(self, parts: list[JsonObject]) -> None:
        self._add("model", parts)

    def _call(self, index: int, call: FunctionCall) -> None:
        signature, self._signature = self._signature, None
        part: JsonObject = {"functionCall": {"id": call.call_id, "name": call.name, "args": _arguments(call.arguments)}}
        step = self._signed_step
        if signature is None and step is not None and self._contents[-1] is step.user:
            self._join(step, index, call, part)
            return
        is_first = not self._waiting
        if signature is None and is_first and self._is_third:
            signature = SKIP_SIGNATURE
        if signature is not None:
            part["thoughtSignature"] = signature
        self._model([part])
        self._waiting.append((index, call))

    def _join(self, step: _Step, index: int, call: FunctionCall, part: JsonObject) -> None:
        """A call without a signature, right behind the answers to one that has one: it was made beside it. A step of
        its own would have brought its own signature, and Gemini 3 refuses one without.
        """
        step.model["parts"].append(part)
        answer, behind = self._take_output(index, call)
        step.user["parts"].insert(step.answers, answer)
        step.user["parts"] += behind
        self._signed_step = _Step(step.model, step.user, step.answers + 1)

    def _output(self, index: int, item: FunctionCallOutput) -> None:
        if index in self._answered:
            return
        self._answer()
        if index not in self._answered:
            raise InvalidRequest(
                f"No tool call found for function call output with call_id {item.call_id!r}.",
                param=f"input[{index}].call_id",
                code="unknown_tool_call",
            )

    def _answer(self) -> None:
        """Puts the outputs of all waiting calls behind them, in the calls' order, media last."""
        if not self._waiting:
            return
        answers: list[JsonObject] = []
        media: list[JsonObject] = []
        for index, call in self._waiting:
            answer, behind = self._take_output(index, call)
            answers.append(answer)
            media += behind
        self._waiting.clear()
        turn = self._contents[-1]
        self._add("user", answers + media)
        calls = [part for part in turn["parts"] if "functionCall" in part]
        is_signed = calls[0].get("thoughtSignature", SKIP_SIGNATURE) != SKIP_SIGNATURE
        self._signed_step = _Step(turn, self._contents[-1], len(answers)) if is_signed else None

    def _take_output(self, index: int, call: FunctionCall) -> tuple[JsonObject, list[JsonObject]]:
        waiting = self._outputs[call.call_id]
        if not waiting:
            raise InvalidRequest(
                f"No tool output found for function call {call.call_id!r} ({call.name}).",
                param=f"input[{index}]",
                code="missing_tool_output",
            )
        at = waiting.popleft()
        self._answered.add(at)
        output = self._items[at]
        assert isinstance(output, FunctionCallOutput)
        return _function_response(call, _parts(output.output, f"input[{at}].output"), self._is_third)

    def _reasoning(self, item: Reasoning) -> None:
        """Puts back what `gemini.py` sealed: see `seal` there for its shape."""
        sealed = _read_object(content_for(self._provider, item.encrypted_content))
        signature = sealed.get("signature")
        match sealed.get("on"):
            case "call" if isinstance(signature, str):
                self._signature = signature
            case "text" if isinstance(signature, str):
                self._sign_text(signature)
            case "thought" if isinstance(signature, str):
                text = "".join(part.text for part in item.summary)
                self._model([{"text": text, "thought": True, "thoughtSignature": signature}])
            case "part" if isinstance(sealed.get("part"), dict):
                self._model([sealed["part"]])

    def _sign_text(self, signature: str) -> None:
        last = self._contents[-1] if self._contents else None
        if last is None or last["role"] != "model":
            return
        part = last["parts"][-1]
        if "text" in part and "thoughtSignature" not in part:
            part["thoughtSignature"] = signature

    def _opaque(self, index: int, item: OpaqueItem) -> None:
        extra = item.model_extra or {}
        if item.is_from("gemini"):
            part = extra.get("part")
            self._model([part] if isinstance(part, dict) else [])
        elif item.type == GENERATED_IMAGE and isinstance(extra.get("mime_type"), str):
            part = {"inlineData": {"mimeType": extra["mime_type"], "data": extra.get("result")}}
            signature = extra.get("thought_signature")
            self._model([part | ({"thoughtSignature": signature} if signature else {})])
        elif not item.is_record and not item.type.startswith(SLUG):
            raise _unsupported_item(index, item.type)


def _unsupported_item(index: int, kind: object) -> InvalidRequest:
    return InvalidRequest(
        f"The route's provider cannot take an item of type {kind!r}.", param=f"input[{index}]", code="unsupported_item"
    )


def _read_object(text: str | None) -> JsonObject:
    """An object, or an empty one for what is none: `encrypted_content` passes through the client's hands."""
    try:
        read = json.loads(text or "")
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


def _arguments(text: str) -> JsonObject:
    """`args` is an object; what the model wrote wrongly is kept in one."""
    read = _read_object(text)
    return read if read or text.strip() in ("", "{}") else {"arguments": text}


# --- content parts


def _function_response(
    call: FunctionCall, parts: list[JsonObject], is_third: bool
) -> tuple[JsonObject, list[JsonObject]]:
    """(the answer's part, the media that go behind it)."""
    texts = [part["text"] for part in parts if "text" in part]
    media = [part for part in parts if "text" not in part]
    inside = [part for part in media if is_third and _fits_in_answer(part)]
    behind = [part for part in media if part not in inside]
    said = "\n".join(texts) if texts or not media else "The result is attached."
    answer: JsonObject = {"id": call.call_id, "name": call.name, "response": {"output": said}}
    if inside:
        answer["parts"] = inside
    if behind:
        behind.insert(0, {"text": f"Returned by {call.name}:"})
    return {"functionResponse": answer}, behind


def _fits_in_answer(part: JsonObject) -> bool:
    return part.get("inlineData", {}).get("mimeType") in _ANSWER_TYPES


def _parts(content: Any, path: str) -> list[JsonObject]:
    """Content parts in Gemini's form; empty texts are left out, since Gemini takes none."""
    if isinstance(content, str):
        return [{"text": content}] if content else []
    found = [_part(part, f"{path}[{index}]") for index, part in enumerate(content)]
    return [part for part in found if part.get("text") != ""]


def _part(part: Any, path: str) -> JsonObject:
    match part:
        case InputText() | OutputText():
            return {"text": part.text}
        case Refusal():
            return {"text": part.refusal}
        case InputImage() if part.image_url:
            return _media(part.image_url, path)
        case InputFile() if part.file_data:
            return _file(part.file_data, part.filename, path)
        case InputFile() if part.file_url:
            return _media(part.file_url, path)
        case InputAudio():
            return _inline(f"audio/{part.input_audio.format}", part.input_audio.data)
        case InputVideo():
            return _media(part.video_url, path)
    raise InvalidRequest(
        f"The route's provider cannot take a content part of type {part.type!r} in this form.",
        param=path,
        code="unsupported_content",
    )


def _media(url: str, path: str) -> JsonObject:
    """A data URL's bytes, or an address that Google fetches itself, with the type that its suffix tells."""
    if url.startswith("data:"):
        kind, data = _data_url(url, path)
        return _inline(kind, data)
    where: JsonObject = {"fileUri": url}
    kind = _kind_by_name(urlsplit(url).path)
    return {"fileData": {"mimeType": kind, **where} if kind else where}


def _file(data: str, filename: str | None, path: str) -> JsonObject:
    if data.startswith("data:"):
        kind, data = _data_url(data, path)
        if kind != "application/octet-stream":
            return _inline(kind, data)
    kind = _kind_by_name(filename or "") or _kind_by_content(data)
    if not kind:
        raise InvalidRequest(
            "The file's type is not known: send file_data as a data URL with its type, or a filename with a suffix.",
            param=path,
            code="unsupported_content",
        )
    return _inline(kind, data)


def _inline(kind: str, data: str) -> JsonObject:
    return {"inlineData": {"mimeType": "text/plain" if _TEXT_TYPE.fullmatch(kind) else kind, "data": data}}


def _data_url(url: str, path: str) -> tuple[str, str]:
    """(type, base64) of a data URL (RFC 2397)."""
    head, comma, data = url.removeprefix("data:").partition(",")
    if not comma:
        raise InvalidRequest("is not a data URL: it has no comma.", param=path, code="invalid_value")
    kind, *settings = head.split(";")
    if "base64" not in settings:
        data = base64.b64encode(unquote_to_bytes(data)).decode()
    return kind.lower() or "text/plain", data


def _kind_by_name(name: str) -> str:
    suffix = name.rpartition(".")[2].lower()
    return _MIME_BY_SUFFIX.get(suffix, "text/plain" if suffix in _TEXT_SUFFIXES else "")


def _kind_by_content(data: str) -> str:
    try:
        raw = base64.b64decode(data)
        if raw.startswith(b"%PDF-"):
            return "application/pdf"
        raw.decode()
    except (binascii.Error, ValueError):
        return ""
    return "text/plain"
