"""The system and developer messages that a conversation begins with: some APIs have a field of its own for them."""

from __future__ import annotations

from collections.abc import Sequence

from open_responses.schema.items import DeveloperMessage, InputItem, SystemMessage


def leading_instructions(items: Sequence[InputItem]) -> list[SystemMessage | DeveloperMessage]:
    leading: list[SystemMessage | DeveloperMessage] = []
    for item in items:
        if not isinstance(item, SystemMessage | DeveloperMessage):
            break
        leading.append(item)
    return leading
