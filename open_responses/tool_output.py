"""What a tool returned, as the model can read it."""

from __future__ import annotations

from pydantic_core import PydanticSerializationError, to_json

from open_responses.contracts import ToolError, ToolOutput

# The members that a content part must have besides its type, any one of them.
_PARTS = {
    "input_text": ("text",),
    "input_image": ("image_url", "file_id"),
    "input_file": ("file_data", "file_url", "file_id"),
}


def tool_output(value: object) -> ToolOutput:
    """Text as it is, content parts as they are, anything else as compact JSON.

    Raises ToolError for what is neither text nor JSON.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(_is_part(part) for part in value):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        raise ToolError(f"The tool returned {type(value).__name__}, which is not text.")
    try:
        return to_json(value).decode()
    except (PydanticSerializationError, ValueError) as error:
        raise ToolError(f"The tool returned {type(value).__name__}, which is neither text nor JSON.") from error


def _is_part(part: object) -> bool:
    if not isinstance(part, dict):
        return False
    return any(isinstance(part.get(name), str) for name in _PARTS.get(str(part.get("type")), ()))
