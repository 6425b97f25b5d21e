"""The turns of a conversation as Ollama's messages.

Sources: docs.ollama.com (openapi.yaml; capabilities/thinking, tool-calling), the SDK `ollama` 0.6.3.
"""

from __future__ import annotations

from activities.providers.shared.chat_turns import Output, Piece, Turn, origin_of, read_conversation
from activities.providers.shared.content_parts import text_of, unsupported_part
from activities.providers.shared.data_urls import read_data_url
from activities.providers.shared.text_formats import format_in_words, verbosity_in_words
from activities.providers.shared.tool_choices import is_forced, plain_choice
from open_responses.contracts import SampleCall
from open_responses.json_types import JsonObject
from open_responses.models.capabilities import nothing_to_read
from open_responses.schema.content import InputImage
from open_responses.schema.tool_choice import FunctionChoice


def chat_messages(call: SampleCall, provider: str, *, offers_tools: bool) -> list[JsonObject]:
    """Return the messages, instructions first. Raises InvalidRequest for an item without a form in Ollama's API, and
    for an empty conversation."""
    talk = read_conversation(call, provider)
    asked = call.request
    said = [format_in_words(asked)] if offers_tools else []
    said += [verbosity_in_words(asked)]
    system = [text for text in (asked.instructions, *talk.system, *said) if text]
    messages: list[JsonObject] = [{"role": "system", "content": "\n\n".join(system)}] if system else []
    for turn in talk.turns:
        _add_turn(messages, turn)
    if not messages:
        raise nothing_to_read()
    ordered = _choice_in_words(call)
    if ordered:
        messages.insert(len(messages) - (1 if call.prefix else 0), {"role": "system", "content": ordered})
    return messages


def _choice_in_words(call: SampleCall) -> str | None:
    """Return the tool choice as the last message. It applies to one turn, so that the prefix before it stays the
    same."""
    if not (call.tools and is_forced(call)):
        return None
    choice = plain_choice(call)
    return f"Call the tool {choice.name} now." if isinstance(choice, FunctionChoice) else "Call one of the tools now."


def _add_turn(messages: list[JsonObject], turn: Turn) -> None:
    if turn.role == "user":
        _add_user(messages, turn.text, _images(turn.pieces))
    elif turn.role == "system":
        messages.append({"role": "system", "content": turn.text})
    elif turn.text or turn.calls:
        _add_assistant(messages, turn)


def _add_assistant(messages: list[JsonObject], turn: Turn) -> None:
    message: JsonObject = {"role": "assistant", "content": turn.text}
    thinking = "\n\n".join(thought.text for thought in turn.thoughts if thought.text)
    if thinking:
        message["thinking"] = thinking
    if turn.calls:
        message["tool_calls"] = [
            {"id": call.call_id, "function": {"index": index, "name": call.name, "arguments": call.as_object}}
            for index, call in enumerate(turn.calls)
        ]
    messages.append(message)
    messages += [_tool_message(output) for output in turn.outputs]
    for output in turn.outputs:
        if output.attached:
            _add_user(messages, origin_of(output, output.call.call_id), _images(output.attached))


def _tool_message(output: Output) -> JsonObject:
    call = output.call
    return {"role": "tool", "tool_name": call.name, "tool_call_id": call.call_id, "content": output.told}


def _add_user(messages: list[JsonObject], text: str, images: list[str]) -> None:
    """Append to the user's message before it."""
    if messages and messages[-1]["role"] == "user":
        last = messages[-1]
        last["content"] = f"{last['content']}\n\n{text}"
        images = [*last.get("images", ()), *images]
    else:
        messages.append({"role": "user", "content": text})
    if images:
        messages[-1]["images"] = images


def _images(pieces: list[Piece]) -> list[str]:
    return [_image(piece) for piece in pieces if text_of(piece.part) is None]


def _image(piece: Piece) -> str:
    """Return the base64 of a data URL."""
    part = piece.part
    read = read_data_url(part.image_url or "") if isinstance(part, InputImage) else None
    if read is None or not (read.kind.startswith("image/") and read.is_base64 and read.data):
        raise unsupported_part(part, piece.path, ": Ollama takes images as data URLs in base64")
    return read.data
