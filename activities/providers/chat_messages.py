"""Items to chat messages: the turns of a conversation, and how each server of the chat API wants to read them.

What this prevents: a request that one server takes and the next refuses. Chat templates and APIs differ most in what
may follow what, so the messages have the one form that all take:

- leading system and developer messages are one system message; one in the middle is told as the user's, in its place,
  where a server is not known to take it (templates of Qwen and Gemma raise "System message must be at the beginning",
  Mistral's API wants a user or a tool last);
- consecutive messages of one role are one message, since templates demand that user and assistant alternate;
- outputs stand right behind the message with their calls, and what is not text in them in a user's message behind all
  outputs of that turn: a `tool` message holds text;
- arguments are always a JSON object, since vLLM, llama.cpp and Ollama parse them: what is broken is wrapped, as text.

Reasoning goes back with every message of the assistant, under the name that the server gave it (it is in the seal of
the reasoning item), so that a request's prefix stays the same however the conversation goes on, and each server's own
template decides how much of it the model reads. Sources: api-docs.deepseek.com/guides/thinking_mode (turns with tools
need it back for good, missing is a 400; NousResearch/hermes-agent#15228: on each message), docs.vllm.ai
features/reasoning_outputs (`reasoning`, once `reasoning_content`), groq's SDK (`reasoning`; `reasoning_content` is
refused), openrouter.ai/docs reasoning-tokens (`reasoning_details`, unchanged), mistralai's SDK (`ThinkChunk`).
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

from open_responses import sealed_reasoning
from open_responses.contracts import Resume, SampleCall
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

# --- the dialects


def _plain_effort(effort: str) -> JsonObject:
    return {"reasoning_effort": effort}


def _groq_effort(effort: str) -> JsonObject:
    return {"reasoning_effort": {"minimal": "low", "xhigh": "high", "max": "high"}.get(effort, effort)}


def _deepseek_effort(effort: str) -> JsonObject:
    if effort == "none":
        return {"thinking": {"type": "disabled"}}
    return {"thinking": {"type": "enabled"}, "reasoning_effort": effort}


def _zai_effort(effort: str) -> JsonObject:
    return {"thinking": {"type": "disabled" if effort == "none" else "enabled"}}


def _openrouter_effort(effort: str) -> JsonObject:
    return {"reasoning": {"effort": "xhigh" if effort == "max" else effort}}


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one server has otherwise than the rest.

    `limit`, `seed` and `required` are its words for these; `extras` those of OpenAI's own settings that it knows.
    `reasoning` is the field for reasoning whose origin is not known (None: it takes none back), `always_reasons` that
    it misses it where there is none. `mistral` stands for that API's own content parts, ids and order.
    """

    limit: str = "max_tokens"
    seed: str = "seed"
    required: str = "required"
    top_k: bool = True
    stream_usage: bool = True
    json_schema: bool = True
    extras: frozenset[str] = frozenset()
    effort: Callable[[str], JsonObject] = _plain_effort
    system_anywhere: bool = False
    reasoning: Literal["reasoning_content", "reasoning", "content"] | None = "reasoning_content"
    always_reasons: bool = False
    mistral: bool = False
    resume: Resume = "prefill"


_OPENAI = Dialect(
    limit="max_completion_tokens",
    top_k=False,
    extras=frozenset({"verbosity", "prompt_cache_key", "safety_identifier", "service_tier"}),
    system_anywhere=True,
    reasoning=None,
    resume="none",
)
_MISTRAL = Dialect(
    seed="random_seed",
    required="any",
    top_k=False,
    stream_usage=False,
    reasoning="content",
    mistral=True,
    resume="none",
)
_DEEPSEEK = Dialect(
    top_k=False,
    json_schema=False,
    effort=_deepseek_effort,
    system_anywhere=True,
    always_reasons=True,
    resume="none",
)
_ZAI = Dialect(top_k=False, json_schema=False, effort=_zai_effort, system_anywhere=True, resume="none")
_MOONSHOT = Dialect(top_k=False, system_anywhere=True, resume="none")

# By the end of the host's name. Whether a trailing assistant message is continued is documented of Groq alone (and of
# llama.cpp, LM Studio and their like, which have no host of their own); Mistral and DeepSeek want a flag for it, and
# Mistral repeats the text.
_BY_HOST: Mapping[str, Dialect] = {
    "api.openai.com": _OPENAI,
    "openai.azure.com": _OPENAI,
    "services.ai.azure.com": _OPENAI,
    "cognitiveservices.azure.com": _OPENAI,
    "api.mistral.ai": _MISTRAL,
    "api.deepseek.com": _DEEPSEEK,
    "api.z.ai": _ZAI,
    "open.bigmodel.cn": _ZAI,
    "api.moonshot.ai": _MOONSHOT,
    "api.moonshot.cn": _MOONSHOT,
    "api.groq.com": Dialect(top_k=False, effort=_groq_effort, reasoning="reasoning"),
    "openrouter.ai": Dialect(effort=_openrouter_effort, system_anywhere=True, reasoning="reasoning", resume="none"),
    "api.x.ai": Dialect(top_k=False, system_anywhere=True, resume="none"),
    "api.together.xyz": Dialect(reasoning="reasoning", resume="none"),
    "api.together.ai": Dialect(reasoning="reasoning", resume="none"),
}
_ANY = Dialect()


def dialect_of(base_url: str) -> Dialect:
    """The server's dialect, by its host; that of a plain server for all that are not known."""
    host = urlsplit(base_url).hostname or ""
    return next((d for name, d in _BY_HOST.items() if host == name or host.endswith(f".{name}")), _ANY)


# --- the turns

Part: TypeAlias = InputText | InputImage | InputFile | InputAudio | InputVideo | OutputText | Refusal


@dataclass(frozen=True, slots=True)
class Piece:
    """One part of a content, and where it stands, for errors."""

    part: Part
    path: str


@dataclass(frozen=True, slots=True)
class Thought:
    """Reasoning that goes back. `seal` is what its adapter kept with it; empty where nothing was."""

    text: str
    seal: JsonObject


@dataclass(frozen=True, slots=True)
class Call:
    call_id: str
    name: str
    arguments: JsonObject | None
    written: str

    @property
    def as_object(self) -> JsonObject:
        """The arguments, or the text that should have been."""
        if self.arguments is not None:
            return self.arguments
        return {"invalid_arguments": self.written} if self.written.strip() else {}

    @property
    def as_text(self) -> str:
        """The arguments as the model wrote them, where they are a JSON object."""
        return self.written if self.arguments is not None else json.dumps(self.as_object, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Output:
    """`text` of it, and what else there is."""

    call: Call
    text: str
    attached: list[Piece]


@dataclass(slots=True)
class Turn:
    """Consecutive messages of one role; an assistant's with its calls and, behind these, their outputs."""

    role: Literal["user", "assistant", "system"]
    contents: list[list[Piece]] = field(default_factory=list)
    thoughts: list[Thought] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All texts, messages with an empty line between them."""
        texts = ("".join(text_of(piece.part) or "" for piece in content) for content in self.contents)
        return "\n\n".join(text for text in texts if text)


@dataclass(slots=True)
class Conversation:
    """`system` are the texts before the first turn."""

    system: list[str] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)


def read_conversation(call: SampleCall, provider: str) -> Conversation:
    """The turns, the unfinished answer (`prefix`) last. Raises InvalidRequest for an item that no chat has.

    `provider` is the name in the configuration: only reasoning that it made, or that nobody sealed, is kept.
    """
    reader = _TurnReader(provider)
    for index, item in enumerate(call.items):
        reader.add(item, index)
    if call.prefix:
        reader.say(call.prefix)
    return reader.conversation


class _TurnReader:
    def __init__(self, provider: str) -> None:
        self.conversation = Conversation()
        self._provider = provider
        self._turns = self.conversation.turns
        self._pending: list[Thought] = []
        self._calls: dict[str, tuple[Call, Turn]] = {}

    def add(self, item: InputItem, index: int) -> None:
        at = f"input[{index}]"
        match item:
            case UserMessage():
                self._turn("user").contents.append(_pieces(item.content, f"{at}.content"))
            case SystemMessage() | DeveloperMessage():
                self._instruct(_pieces(item.content, f"{at}.content"))
            case AssistantMessage():
                self._assistant().contents.append(_pieces(item.content, f"{at}.content"))
            case FunctionCall():
                self._call(item)
            case FunctionCallOutput():
                self._output(item, _pieces(item.output, f"{at}.output"))
            case Reasoning():
                self._think(item)
            case OpaqueItem() if item.is_record or item.type.startswith(SLUG):
                pass
            case _:
                raise InvalidRequest(
                    f"The provider {self._provider!r} cannot take an item of type {getattr(item, 'type', None)!r}.",
                    param=at,
                    code="unsupported_item",
                )

    def say(self, text: str) -> None:
        self._assistant().contents.append(_pieces(text, "input"))

    def _turn(self, role: Literal["user", "assistant", "system"]) -> Turn:
        last = self._turns[-1] if self._turns else None
        if last is not None and last.role == role and not last.outputs:
            return last
        if role != "assistant":
            self._settle()
        self._turns.append(Turn(role))
        return self._turns[-1]

    def _assistant(self) -> Turn:
        turn = self._turn("assistant")
        turn.thoughts += self._pending
        self._pending.clear()
        return turn

    def _settle(self) -> None:
        """Reasoning behind the last word of a turn belongs to it; without any turn it is of an answer that is lost."""
        if self._turns and self._turns[-1].role == "assistant" and not self._turns[-1].outputs:
            self._turns[-1].thoughts += self._pending
        self._pending.clear()

    def _instruct(self, content: list[Piece]) -> None:
        if self._turns:
            self._turn("system").contents.append(content)
        else:
            self.conversation.system.append("".join(text_of(piece.part) or "" for piece in content))

    def _call(self, item: FunctionCall) -> None:
        turn = self._assistant()
        call = Call(item.call_id, item.name, _json_object(item.arguments), item.arguments)
        turn.calls.append(call)
        self._calls[item.call_id] = (call, turn)

    def _output(self, item: FunctionCallOutput, content: list[Piece]) -> None:
        self._settle()
        if item.call_id not in self._calls:
            self._turn("user").contents.append(content)
            return
        call, turn = self._calls[item.call_id]
        texts = [text for piece in content if (text := text_of(piece.part)) is not None]
        attached = [piece for piece in content if text_of(piece.part) is None]
        turn.outputs.append(Output(call, "".join(texts), attached))

    def _think(self, item: Reasoning) -> None:
        kept = sealed_reasoning.content_for(self._provider, item.encrypted_content)
        if kept is None and item.encrypted_content is not None:
            return
        seal = (_json_object(kept) if kept is not None else None) or {}
        text = "".join(part.text for part in item.content or [])
        if text or seal:
            self._pending.append(Thought(text, seal))


def _pieces(content: str | Sequence[Part], path: str) -> list[Piece]:
    if isinstance(content, str):
        return [Piece(InputText(type="input_text", text=content), path)]
    return [Piece(part, f"{path}[{index}]") for index, part in enumerate(content)]


def text_of(part: Part) -> str | None:
    """A part's text; None for what is not text."""
    if isinstance(part, InputText | OutputText):
        return part.text
    return part.refusal if isinstance(part, Refusal) else None


def origin_of(output: Output, call_id: str) -> str:
    """The line before what could not stand in the output itself."""
    return f"From the output of {output.call.name} (call {call_id}):"


def thinks(call: SampleCall) -> bool:
    """Whether the model has thought since the last message or output: then what it says cannot be put in its mouth
    (llama.cpp: "Assistant response prefill is incompatible with enable_thinking")."""
    for item in reversed(call.items):
        if isinstance(item, Reasoning):
            return True
        if isinstance(item, UserMessage | FunctionCallOutput):
            return False
    return False


def rough_tokens(value: Any) -> int:
    """Tokens of all texts in a body, at 4 characters each; for providers that do not count."""
    return _characters(value) // 4


def _characters(value: Any) -> int:
    if isinstance(value, str):
        return 0 if value.startswith("data:") else len(value)
    if isinstance(value, dict):
        return sum(map(_characters, value.values()))
    return sum(map(_characters, value)) if isinstance(value, list) else 0


def _json_object(text: str) -> JsonObject | None:
    try:
        read = json.loads(text)
    except ValueError:
        return None
    return read if isinstance(read, dict) else None


# --- the messages


def chat_messages(call: SampleCall, provider: str, dialect: Dialect, words: Sequence[str]) -> list[JsonObject]:
    """The conversation, instructions first, then `words`. Raises InvalidRequest for what the API has no place for."""
    talk = read_conversation(call, provider)
    system = [text for text in (call.request.instructions, *talk.system, *words) if text]
    writer = _MessageWriter(dialect)
    if system:
        writer.messages.append({"role": "system", "content": "\n\n".join(system)})
    for turn in talk.turns:
        writer.write(turn)
    return writer.finished()


class _MessageWriter:
    def __init__(self, dialect: Dialect) -> None:
        self.messages: list[JsonObject] = []
        self._dialect = dialect
        self._user: list[list[JsonObject]] = []

    def write(self, turn: Turn) -> None:
        if turn.role == "user":
            self._user += [[_part(piece, self._dialect) for piece in content] for content in turn.contents]
        elif turn.role == "assistant":
            self._write_assistant(turn)
        elif self._dialect.system_anywhere:
            self._end_user()
            self.messages.append({"role": "system", "content": turn.text})
        else:
            self._user.append([_text(f"<system>\n{turn.text}\n</system>")])

    def finished(self) -> list[JsonObject]:
        self._end_user()
        return self.messages

    def _write_assistant(self, turn: Turn) -> None:
        text = turn.text
        if not text and not turn.calls:
            return
        self._end_user()
        message: JsonObject = {"role": "assistant", "content": text or None}
        if turn.calls:
            message["tool_calls"] = [self._call(call) for call in turn.calls]
        self.messages.append(message | self._reasoning(turn.thoughts, text))
        for output in turn.outputs:
            call_id = self._call_id(output.call)
            told = output.text if output.text or not output.attached else "The output is in the next user message."
            self.messages.append({"role": "tool", "tool_call_id": call_id, "content": told})
            if output.attached:
                parts = [_part(piece, self._dialect) for piece in output.attached]
                self._user.append([_text(origin_of(output, call_id)), *parts])

    def _end_user(self) -> None:
        if not self._user:
            return
        if self._dialect.mistral and self.messages and self.messages[-1]["role"] == "tool":
            # "Unexpected role 'user' after role 'tool'"
            self.messages.append({"role": "assistant", "content": "OK."})
        self.messages.append({"role": "user", "content": _joined(self._user)})
        self._user = []

    def _call(self, call: Call) -> JsonObject:
        function = {"name": call.name, "arguments": call.as_text}
        return {"id": self._call_id(call), "type": "function", "function": function}

    def _call_id(self, call: Call) -> str:
        """Mistral takes nine letters and digits only."""
        if not self._dialect.mistral or re.fullmatch(r"[a-zA-Z0-9]{9}", call.call_id):
            return call.call_id
        return hashlib.sha256(call.call_id.encode()).hexdigest()[:9]

    def _reasoning(self, thoughts: list[Thought], text: str) -> JsonObject:
        if self._dialect.reasoning is None:
            return {}
        details = [detail for thought in thoughts for detail in thought.seal.get("details") or []]
        if details:
            return {"reasoning_details": details}
        thought_text = "\n\n".join(thought.text for thought in thoughts if thought.text)
        if not thought_text:
            return {"reasoning_content": ""} if self._dialect.always_reasons else {}
        named = [thought.seal["field"] for thought in thoughts if thought.seal.get("field")]
        name = named[-1] if named else self._dialect.reasoning
        return {"content": _with_thinking(thoughts, text)} if name == "content" else {name: thought_text}


def _with_thinking(thoughts: list[Thought], text: str) -> list[JsonObject]:
    """Mistral's content: chunks of thinking, each with its signature where it has one, then the text."""
    chunks: list[JsonObject] = [
        {"type": "thinking", "thinking": [_text(thought.text)]}
        | ({"signature": thought.seal["signature"]} if thought.seal.get("signature") else {})
        for thought in thoughts
        if thought.text
    ]
    return [*chunks, _text(text)] if text else chunks


def _text(text: str) -> JsonObject:
    return {"type": "text", "text": text}


def _joined(contents: list[list[JsonObject]]) -> str | list[JsonObject]:
    """A string where text is all there is: some servers know no parts."""
    if all(part["type"] == "text" for content in contents for part in content):
        return "\n\n".join("".join(part["text"] for part in content) for content in contents)
    return [part for content in contents for part in content]


def _part(piece: Piece, dialect: Dialect) -> JsonObject:
    part = piece.part
    text = text_of(part)
    if text is not None:
        return _text(text)
    if isinstance(part, InputImage) and part.image_url is not None:
        return {"type": "image_url", "image_url": {"url": part.image_url, **_detail(part)}}
    if isinstance(part, InputAudio):
        sound = part.input_audio
        whole = {"data": sound.data, "format": sound.format}
        return {"type": "input_audio", "input_audio": sound.data if dialect.mistral else whole}
    if isinstance(part, InputFile) and (part.file_data is not None or part.file_id is not None):
        return _file(part, dialect)
    raise InvalidRequest(
        f"The route's provider cannot take a content part of type {part.type!r} in this form.",
        param=piece.path,
        code="unsupported_content",
    )


def _detail(part: InputImage) -> JsonObject:
    """`original` is the Responses API's alone."""
    return {"detail": "high" if part.detail == "original" else part.detail} if part.detail else {}


def _file(part: InputFile, dialect: Dialect) -> JsonObject:
    if part.file_data is None:
        by_id = {"file_id": part.file_id}
        return {"type": "file", **by_id} if dialect.mistral else {"type": "file", "file": by_id}
    url, name = _data_url(part.file_data, part.filename), part.filename or "file"
    if dialect.mistral:
        return {"type": "document_url", "document_url": url, "document_name": name}
    return {"type": "file", "file": {"filename": name, "file_data": url}}


def _data_url(data: str, filename: str | None) -> str:
    if data.startswith("data:"):
        return data
    # A fresh MimeTypes knows Python's own table alone: the same on every machine.
    kind = mimetypes.MimeTypes().guess_type(filename or "")[0] or "application/pdf"
    return f"data:{kind};base64,{data}"
