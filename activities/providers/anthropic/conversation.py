"""Items to Anthropic's system blocks and messages.

What this prevents: a conversation whose form the API rejects (results apart from their calls, blank text, an id with a
dot, an answer of the assistant at the end).

Sources: platform.claude.com/docs (Messages, mid-conversation system messages).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from activities.providers.anthropic.content import blocks_of, text_block
from activities.providers.shared.foreign_items import leave_out
from activities.providers.shared.json_objects import arguments_object, object_in
from activities.providers.shared.leading_instructions import leading_instructions
from open_responses.json_types import JsonObject
from open_responses.models import sealed_reasoning
from open_responses.models.capabilities import nothing_to_read
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

BLOCK_ID = "block_id"
"""The member of a provider item with the vendor's `id` of the block. The item's own `id` is this server's."""

# The API rejects a conversation that begins or ends with the assistant.
_OPENING = "(The conversation so far.)"
_GO_ON = "Continue."
_THOUGHTS = ("thinking", "redacted_thinking")


@dataclass(slots=True)
class _Turn:
    """The consecutive content of one role. Results come first; `orders` are system messages in the middle of the
    conversation."""

    role: str
    results: list[JsonObject] = field(default_factory=list)
    blocks: list[JsonObject] = field(default_factory=list)
    orders: list[str] = field(default_factory=list)

    def messages(self, *, has_system_role: bool) -> list[JsonObject]:
        """Return the turn as messages. A system message has to follow a user's message and precede an assistant's."""
        content = [*self.results, *self.blocks]
        if self.orders and not (has_system_role and content):
            content += [text_block(f"<system-reminder>\n{order}\n</system-reminder>") for order in self.orders]
            return [{"role": self.role, "content": content}]
        said: list[JsonObject] = [{"role": self.role, "content": content}]
        return said + ([{"role": "system", "content": [*map(text_block, self.orders)]}] if self.orders else [])


def system_and_messages(
    items: Sequence[InputItem],
    *,
    provider: str,
    instructions: str | None,
    words: Iterable[str | None],
    has_system_role: bool,
    prefix: str | None,
) -> tuple[list[JsonObject], list[JsonObject]]:
    """(system, messages). `words` are orders that the API has no parameter for.

    System and developer messages at the beginning go to `system`. Those in the middle keep their position: as system
    messages if the model accepts them, otherwise in a `<system-reminder>` of the user's turn, as Anthropic advises.
    Raises InvalidRequest for an item without a form in this API, and for an empty conversation.
    """
    leading = leading_instructions(items)
    orders = [instructions, *map(_order, leading), *words]
    system = [text_block(order) for order in orders if order and order.strip()]
    turns: list[_Turn] = []
    for index, item in enumerate(items[len(leading) :], len(leading)):
        _add(turns, item, index, provider)
    if not (turns or system or any(isinstance(item, UserMessage) for item in items)):
        raise nothing_to_read()
    if not turns or turns[0].role == "assistant":
        turns.insert(0, _Turn("user", blocks=[text_block(_OPENING)]))
    if prefix:
        _turn(turns, "assistant").blocks.append(text_block(prefix))
    elif turns[-1].role == "assistant" and not _is_paused(turns[-1]):
        turns.append(_Turn("user", blocks=[text_block(_GO_ON)]))
    return system, [message for turn in turns for message in turn.messages(has_system_role=has_system_role)]


def _add(turns: list[_Turn], item: InputItem, index: int, provider: str) -> None:
    match item:
        case UserMessage():
            for block in blocks_of(item.content, f"input[{index}].content"):
                _turn(turns, "user").blocks.append(block)
        case SystemMessage() | DeveloperMessage():
            if (order := _order(item)).strip():
                _turn(turns, "user").orders.append(order)
        case AssistantMessage():
            for block in blocks_of(item.content, f"input[{index}].content"):
                _turn(turns, "assistant").blocks.append(block)
        case FunctionCall():
            _turn(turns, "assistant").blocks.append(_tool_use(item))
        case FunctionCallOutput():
            _turn(turns, "user").results.append(_tool_result(item, index))
        case Reasoning():
            if (thought := _thought(item, provider)) is not None:
                _turn(turns, "assistant").blocks.append(thought)
        case OpaqueItem() if item.is_from("anthropic"):
            _turn(turns, "assistant").blocks.append(_provider_block(item))
        case _:
            leave_out(item, index, provider)


def _turn(turns: list[_Turn], role: str) -> _Turn:
    if not turns or turns[-1].role != role:
        turns.append(_Turn(role))
    return turns[-1]


def _is_paused(turn: _Turn) -> bool:
    """Whether the turn ends in a call of the provider's own tools. It is sent back unchanged, and the model continues
    it."""
    last = turn.blocks[-1]["type"] if turn.blocks else ""
    return last == "server_tool_use" or (last != "tool_result" and last.endswith("_tool_result"))


def _order(item: SystemMessage | DeveloperMessage) -> str:
    content = item.content
    return content if isinstance(content, str) else "\n".join(part.text for part in content)


def _thought(item: Reasoning, provider: str) -> JsonObject | None:
    """Return the block exactly as it came with its signature, because the API rejects a changed one."""
    block = object_in(sealed_reasoning.content_for(provider, item.encrypted_content))
    return block if block is not None and block.get("type") in _THOUGHTS else None


def _provider_block(item: OpaqueItem) -> JsonObject:
    kept = {key: value for key, value in item.model_dump(exclude_unset=True).items() if key not in ("id", "status")}
    block_id = kept.pop(BLOCK_ID, None)
    return kept | ({"id": block_id} if block_id is not None else {})


# --- calls and results


def _tool_use(item: FunctionCall) -> JsonObject:
    return {"type": "tool_use", "id": item.call_id, "name": item.name, "input": arguments_object(item.arguments)}


def _tool_result(item: FunctionCallOutput, index: int) -> JsonObject:
    content = blocks_of(item.output, f"input[{index}].output")
    return {"type": "tool_result", "tool_use_id": item.call_id} | ({"content": content} if content else {})
