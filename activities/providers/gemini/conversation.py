"""Items to Gemini's `systemInstruction` and `contents`.

What this prevents: a request that violates Gemini's rules of order. Roles alternate. The answers to one turn's calls
follow the calls directly, together and in the same number. Gemini 3 requires the signature of its thoughts on the part
that carried it, and one on the first call of each step.

Sources: ai.google.dev/api/caching (Content, Part, FunctionResponse), /gemini-api/docs/thought-signatures,
/function-calling (media in answers); recorded requests of pydantic-ai (`tests/models/cassettes/test_google`: ids of our
own on calls and answers, an empty first user turn) and vercel/ai (`packages/google/src/__fixtures__`: media behind an
answer).
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from activities.providers.gemini.models import is_gemini_3
from activities.providers.gemini.parts import parts_of
from activities.providers.shared.foreign_items import leave_out
from activities.providers.shared.json_objects import arguments_object, object_in
from activities.providers.shared.leading_instructions import leading_instructions
from open_responses.errors import InvalidRequest
from open_responses.json_types import JsonObject
from open_responses.models.capabilities import nothing_to_read
from open_responses.models.sealed_reasoning import content_for
from open_responses.schema.items import (
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

# Google's documented stand-in for a call without a signature, made by another model or in an older one's history.
SKIP_SIGNATURE = "skip_thought_signature_validator"
GENERATED_IMAGE = "image_generation_call"
# The media that Gemini 3 accepts inside a function's answer. Others follow the answer.
_ANSWER_TYPES = frozenset({"application/pdf", "image/jpeg", "image/png", "image/webp", "text/plain"})


def system_and_contents(
    items: Sequence[InputItem], instructions: str | None, *, provider: str, model: str
) -> tuple[list[JsonObject], list[JsonObject]]:
    """Return (parts of the system instruction, contents). Raises InvalidRequest for an item that Gemini does not
    accept, and for an empty conversation.

    System and developer messages at the beginning are part of the system instruction. Later ones keep their position,
    as a marked text of the user. At the front, they would change the meaning of earlier messages, and the cached
    prefix.
    """
    leading = leading_instructions(items)
    system = [{"text": instructions}] if instructions else []
    for index, item in enumerate(leading):
        system += parts_of(item.content, f"input[{index}].content")
    conversation = _Conversation(items, provider, is_gemini_3(model))
    for index in range(len(leading), len(items)):
        conversation.add(index)
    if not system and conversation.is_empty:
        raise nothing_to_read()
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
                self._user(parts_of(item.content, f"input[{index}].content"))
            case SystemMessage() | DeveloperMessage():
                said = "\n\n".join(part["text"] for part in parts_of(item.content, f"input[{index}].content"))
                self._user([{"text": f"<system_message>\n{said}\n</system_message>"}] if said else [])
            case AssistantMessage():
                self._model(parts_of(item.content, f"input[{index}].content"))
            case FunctionCall():
                self._call(index, item)
            case FunctionCallOutput():
                self._output(index, item)
            case Reasoning():
                self._reasoning(item)
            case OpaqueItem() if item.is_from("gemini"):
                part = (item.model_extra or {}).get("part")
                self._model([part] if isinstance(part, dict) else [])
            case OpaqueItem() if _is_our_image(item):
                self._image(item)
            case _:
                leave_out(item, index, self._provider)

    @property
    def is_empty(self) -> bool:
        """An empty message of the user's is one, too."""
        return not (self._contents or any(isinstance(item, UserMessage) for item in self._items))

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
        part: JsonObject = {
            "functionCall": {"id": call.call_id, "name": call.name, "args": arguments_object(call.arguments)}
        }
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
        """Join a call without a signature to the step before it, if it directly follows the answers of a step with a
        signature: it was made in parallel. A call in a step of its own would have its own signature, and Gemini 3
        rejects a step without one.
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
                f"No tool call found for function call output with call_id {item.call_id!r}. Send the call before it.",
                param=f"input[{index}].call_id",
                code="unknown_tool_call",
            )

    def _answer(self) -> None:
        """Put the outputs of all waiting calls after the calls, in the calls' order, with media last."""
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
                f"No tool output found for function call {call.call_id!r} ({call.name}). Send its output.",
                param=f"input[{index}]",
                code="missing_tool_output",
            )
        at = waiting.popleft()
        self._answered.add(at)
        output = self._items[at]
        assert isinstance(output, FunctionCallOutput)
        return _function_response(call, parts_of(output.output, f"input[{at}].output"), self._is_third)

    def _reasoning(self, item: Reasoning) -> None:
        """Put the sealed parts back. `ChunkReader._seal` in `stream.py` documents their shape."""
        sealed = object_in(content_for(self._provider, item.encrypted_content)) or {}
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

    def _image(self, item: OpaqueItem) -> None:
        extra = item.model_extra or {}
        part: JsonObject = {"inlineData": {"mimeType": extra["mime_type"], "data": extra.get("result")}}
        signature = extra.get("thought_signature")
        self._model([part | ({"thoughtSignature": signature} if signature else {})])


def _is_our_image(item: OpaqueItem) -> bool:
    """Whether Gemini made the image. OpenAI's items of this type have no media type."""
    return item.type == GENERATED_IMAGE and isinstance((item.model_extra or {}).get("mime_type"), str)


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
