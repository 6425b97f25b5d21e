"""The turns of a conversation as chat messages, in the form that each server accepts.

- A system message in the middle is told as the user's, in its place, where a server is not known to take it (Mistral's
  API wants a user or a tool last).
- Outputs stand right behind the message with their calls, and what is not text in them in a user's message behind all
  outputs of that turn.
- Arguments are always a JSON object, since vLLM and llama.cpp parse them: what is broken is wrapped, as text.
- Signatures of calls go back on their calls, as the server wrote them.
- Reasoning goes back with every message of the assistant, under the name that the server gave it (it is in the seal of
  the reasoning item), so that a request's prefix stays the same however the conversation goes on, and each server's own
  template decides how much of it the model reads.

Sources: api-docs.deepseek.com/guides/thinking_mode (turns with tools need reasoning back for good, missing is a 400;
NousResearch/hermes-agent#15228: on each message), openrouter.ai/docs reasoning-tokens (`reasoning_details`, unchanged),
mistralai's SDK (`ThinkChunk`).
"""

from __future__ import annotations

from collections.abc import Sequence

from activities.providers.openai_chat.dialects import Dialect
from activities.providers.shared.chat_turns import Call, Content, Piece, Thought, Turn, origin_of, read_conversation
from activities.providers.shared.content_parts import text_of, unsupported_part
from activities.providers.shared.data_urls import as_data_url
from activities.providers.shared.json_objects import as_object
from open_responses.contracts import SampleCall
from open_responses.json_types import JsonObject
from open_responses.models.capabilities import nothing_to_read
from open_responses.schema.content import InputAudio, InputFile, InputImage


def chat_messages(call: SampleCall, provider: str, dialect: Dialect, words: Sequence[str]) -> list[JsonObject]:
    """Return the conversation, instructions first, then `words`. Raises InvalidRequest for an item without a form in
    this API, and for an empty conversation."""
    talk = read_conversation(call, provider)
    system = [text for text in (call.request.instructions, *talk.system, *words) if text]
    writer = _MessageWriter(dialect)
    if system:
        writer.messages.append({"role": "system", "content": "\n\n".join(system)})
    for turn in talk.turns:
        writer.write(turn)
    messages = writer.finished()
    if not messages:
        raise nothing_to_read()
    return messages


class _MessageWriter:
    def __init__(self, dialect: Dialect) -> None:
        self.messages: list[JsonObject] = []
        self._dialect = dialect
        self._user: list[str | list[JsonObject]] = []

    def write(self, turn: Turn) -> None:
        if turn.role == "user":
            self._user += [self._content(content) for content in turn.contents]
        elif turn.role == "assistant":
            self._write_assistant(turn)
        elif self._dialect.system_anywhere:
            self._end_user()
            self.messages.append({"role": "system", "content": turn.text})
        else:
            self._user.append(f"<system>\n{turn.text}\n</system>")

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
        for thought in turn.thoughts:
            message |= as_object(thought.seal.get("message"))
        self.messages.append(message | self._reasoning(turn.thoughts, text))
        for output in turn.outputs:
            call_id = output.call.call_id
            self.messages.append({"role": "tool", "tool_call_id": call_id, "content": output.told})
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

    def _content(self, content: Content) -> str | list[JsonObject]:
        return content if isinstance(content, str) else [_part(piece, self._dialect) for piece in content]

    def _call(self, call: Call) -> JsonObject:
        function = {"name": call.name, "arguments": call.as_text, **as_object(call.signed.get("function"))}
        return {**call.signed, "id": call.call_id, "type": "function", "function": function}

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
    """Return Mistral's content: chunks of thinking, with their signatures, then the text."""
    chunks: list[JsonObject] = [
        {"type": "thinking", "thinking": [_text(thought.text)]}
        | ({"signature": thought.seal["signature"]} if thought.seal.get("signature") else {})
        for thought in thoughts
        if thought.text
    ]
    return [*chunks, _text(text)] if text else chunks


def _text(text: str) -> JsonObject:
    return {"type": "text", "text": text}


def _joined(contents: list[str | list[JsonObject]]) -> str | list[JsonObject]:
    """Return a content of text alone as a string, because some servers accept no parts."""
    texts = [text for content in contents if (text := _text_alone(content)) is not None]
    if len(texts) == len(contents):
        return "\n\n".join(texts)
    return [part for content in contents for part in ([_text(content)] if isinstance(content, str) else content)]


def _text_alone(content: str | list[JsonObject]) -> str | None:
    if isinstance(content, str):
        return content
    is_text = all(part["type"] == "text" for part in content)
    return "".join(part["text"] for part in content) if is_text else None


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
    raise unsupported_part(part, piece.path)


def _detail(part: InputImage) -> JsonObject:
    """Return the detail. Only the Responses API has `original`."""
    return {"detail": "high" if part.detail == "original" else part.detail} if part.detail else {}


def _file(part: InputFile, dialect: Dialect) -> JsonObject:
    if part.file_data is None:
        by_id = {"file_id": part.file_id}
        return {"type": "file", **by_id} if dialect.mistral else {"type": "file", "file": by_id}
    url, name = as_data_url(part.file_data, part.filename), part.filename or "file"
    if dialect.mistral:
        return {"type": "document_url", "document_url": url, "document_name": name}
    return {"type": "file", "file": {"filename": name, "file_data": url}}
