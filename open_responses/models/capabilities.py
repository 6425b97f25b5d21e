"""The capabilities of each adapter. A request with a part that its adapter cannot translate gets a 400 that names it.

The check runs before any work starts. A model may take less than its API; its provider then rejects the call. For an
adapter that is not built in, nothing is checked here: the adapter raises the error itself.

Sources: the vendors' API references (OpenAI Responses and Chat Completions, Anthropic Messages, Gemini generateContent,
Ollama chat), as of 2026.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from open_responses.errors import InvalidRequest
from open_responses.models.media_types import file_type, typed_by_its_bytes
from open_responses.models.vendor_limits import LIMITS, VendorLimits
from open_responses.schema.client_items import (
    AdditionalTools,
    ComputerCall,
    ComputerCallOutput,
    ConfigurationUpdate,
    CustomToolCallOutput,
)
from open_responses.schema.client_tools import ShellTool, is_computer
from open_responses.schema.content import InputAudio, InputFile, InputImage, InputVideo
from open_responses.schema.items import (
    AssistantMessage,
    FunctionCallOutput,
    InputItem,
    OpaqueItem,
    Reasoning,
    UserMessage,
)
from open_responses.schema.mcp_items import McpApprovalResponse, McpTools
from open_responses.schema.names import SLUG
from open_responses.schema.requests import CreateResponse, tools_of_items
from open_responses.schema.tool_choice import McpChoice, named_choices
from open_responses.schema.tools import NamespaceTool

_DATA_URL = "data:"
_EVERYTHING = frozenset({"image_url", "image_data", "image_id", "file_data", "file_url", "file_id", "audio", "video"})
_ALL_SETTINGS = frozenset({"stop", "seed", "top_k", "presence_penalty", "frequency_penalty", "top_logprobs", "top_p"})


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The content parts and settings that an adapter translates.

    Attributes:
        parts: The parts in a user's message: `image_url` (an address), `image_data` (a data URL), `image_id`,
            `file_data`, `file_url`, `file_id`, `audio`, `video`.
        output_parts: The same, in a tool's output.
        settings: Of the settings that change the answer and that some APIs lack, those that this one has.
    """

    parts: frozenset[str]
    output_parts: frozenset[str]
    settings: frozenset[str]


ADAPTERS: Mapping[str, Capabilities] = {
    "openai": Capabilities(
        parts=frozenset({"image_url", "image_data", "image_id", "file_data", "file_url", "file_id"}),
        output_parts=frozenset({"image_url", "image_data", "image_id", "file_data", "file_url", "file_id"}),
        settings=frozenset({"top_logprobs", "top_p"}),
    ),
    "openai-chat": Capabilities(
        parts=frozenset({"image_url", "image_data", "file_data", "file_id", "audio"}),
        # A tool's message holds only text. Its images go into a user message behind it.
        output_parts=frozenset({"image_url", "image_data", "file_data", "audio"}),
        settings=_ALL_SETTINGS,
    ),
    "anthropic": Capabilities(
        parts=frozenset({"image_url", "image_data", "file_data", "file_url"}),
        output_parts=frozenset({"image_url", "image_data", "file_data", "file_url"}),
        settings=frozenset({"stop", "top_k", "top_p"}),
    ),
    "gemini": Capabilities(
        parts=frozenset({"image_url", "image_data", "file_data", "file_url", "audio"}),
        output_parts=frozenset({"image_url", "image_data", "file_data", "file_url", "audio"}),
        settings=_ALL_SETTINGS,
    ),
    "ollama": Capabilities(
        parts=frozenset({"image_data"}),
        output_parts=frozenset({"image_data"}),
        settings=_ALL_SETTINGS,
    ),
}
_UNKNOWN = Capabilities(_EVERYTHING, _EVERYTHING, _ALL_SETTINGS)


_NATIVE = frozenset({"openai"})
# These adapters translate the data of an image themselves. The others pass a data URL on.
_CHECKS_IMAGES = frozenset({"anthropic", "ollama"})


def has_client_tools(adapter: str) -> bool:
    """Whether the adapter's API has OpenAI's tools of the client: custom tools, namespaces, shells, tool search.

    It gets them, and the items of their calls, as they were sent. Any other adapter gets functions.
    """
    return adapter in _NATIVE


def able_of(adapter: str) -> Capabilities:
    """Return the capabilities of an adapter. An unknown adapter has those of `_UNKNOWN`."""
    return ADAPTERS.get(adapter, _UNKNOWN)


def check_takes(adapter: str, provider: str, request: CreateResponse, items: Sequence[InputItem]) -> None:
    """Check that the adapter can translate the request.

    Args:
        adapter: The adapter's name.
        provider: The provider's name in the configuration, for the message.
        request: The request.
        items: The request's own input, in which `param` of the error names a part.

    Raises:
        InvalidRequest: The adapter has no equivalent for a part, a setting or an item.
    """
    able = able_of(adapter)
    if _is_all(request) and not any(_is_read(adapter, item) for item in items):
        raise nothing_to_read()
    _check_settings(able, provider, request)
    _check_openai_settings(adapter, provider, request)
    _check_client_tools(adapter, provider, request)
    for path, kind, in_output in _parts_of(items):
        if kind not in (able.output_parts if in_output else able.parts):
            what, _, instead = _SPOKEN[kind].partition(": ")
            where = " in a tool's output" if in_output else ""
            raise InvalidRequest(
                f"The provider {provider!r} cannot take {what}{where}. {instead[0].upper()}{instead[1:]}.",
                param=path,
                code="unsupported_content",
            )
    if adapter in ADAPTERS:
        _check_items(adapter, provider, items)
        _check_data(adapter, provider, items)


def nothing_to_read() -> InvalidRequest:
    """The error for an input without anything that the model reads: a provider would reject it, or invent a prompt."""
    return InvalidRequest(
        "Your input has nothing that the model reads. Send a message.", param="input", code="invalid_value"
    )


def _is_all(request: CreateResponse) -> bool:
    """Whether nothing comes before the request's own input."""
    return not (request.instructions or request.prompt or request.previous_response_id or request.conversation)


def _is_read(adapter: str, item: InputItem) -> bool:
    match item:
        case Reasoning() | McpTools() | McpApprovalResponse() | AdditionalTools() | ConfigurationUpdate():
            return False
        case AssistantMessage():
            return bool(item.content)
        case OpaqueItem() if adapter in ADAPTERS:
            return item.is_from(adapter) or not (item.is_record or item.type.startswith(SLUG))
    return True


def _check_settings(able: Capabilities, provider: str, request: CreateResponse) -> None:
    for name in sorted(_ALL_SETTINGS - able.settings):
        if getattr(request, name):
            raise InvalidRequest(
                f"The provider {provider!r} has no {name!r}. Leave it out, or choose a model of another provider.",
                param=name,
                code="unsupported_parameter",
            )


# Settings of OpenAI's that change the answer, or that refuse it. No other API has them.
_OPENAI_ALONE = ("access_programs", "moderation", "prompt")


def _check_openai_settings(adapter: str, provider: str, request: CreateResponse) -> None:
    if adapter == "openai" or adapter not in ADAPTERS:
        return
    given = [name for name in _OPENAI_ALONE if getattr(request, name) is not None]
    if request.reasoning is not None and request.reasoning.mode not in (None, "standard"):
        given.append("reasoning.mode")
    if given:
        raise InvalidRequest(
            f"The provider {provider!r} has no {given[0]!r}. Leave it out, or choose a model of OpenAI.",
            param=given[0],
            code="unsupported_parameter",
        )


def _check_client_tools(adapter: str, provider: str, request: CreateResponse) -> None:
    """Check the client's tools that no function can stand for, where the provider has functions alone."""
    if has_client_tools(adapter):
        return
    _check_callers(provider, request)
    for path, tools in [("tools", request.tools or []), *tools_of_items(request)]:
        for index, tool in enumerate(tools):
            if is_computer(tool):
                raise InvalidRequest(
                    f"The provider {provider!r} has no tool {tool.type!r}, and no function can stand for it. Leave it "
                    "out, or choose a model of a provider with OpenAI's API.",
                    param=f"{path}[{index}].type",
                    code="unsupported_tool",
                )
            if isinstance(tool, ShellTool) and tool.is_hosted:
                raise InvalidRequest(
                    f"The provider {provider!r} has no containers for the shell. Send 'environment': "
                    "{'type': 'local'} to run the commands yourself.",
                    param=f"{path}[{index}].environment",
                    code="unsupported_tool",
                )


def _check_callers(provider: str, request: CreateResponse) -> None:
    """Check that no tool is forced that only a program of OpenAI's may call: no other model is offered it."""
    offered = [*(request.tools or []), *(tool for _, tools in tools_of_items(request) for tool in tools)]
    inner = [one for tool in offered for one in (tool.tools if isinstance(tool, NamespaceTool) else (tool,))]
    callers = {(tool.type, getattr(tool, "name", tool.type)): getattr(tool, "allowed_callers", None) for tool in inner}
    for field, named in named_choices(request.tool_choice):
        allowed = (
            None if isinstance(named, McpChoice) else callers.get((named.type, getattr(named, "name", named.type)))
        )
        if allowed is not None and "direct" not in allowed:
            raise InvalidRequest(
                f"{field!r} forces a tool that only programs may call ('allowed_callers'), and the provider "
                f"{provider!r} has no such programs. Add 'direct' to its 'allowed_callers', or send 'auto'.",
                param=field,
                code="unsupported_tool",
            )


def _check_items(adapter: str, provider: str, items: Sequence[InputItem]) -> None:
    for index, item in enumerate(items):
        is_foreign = isinstance(item, OpaqueItem) and not item.is_record and not item.type.startswith(SLUG)
        is_screen = isinstance(item, ComputerCall | ComputerCallOutput) and not has_client_tools(adapter)
        if is_foreign or is_screen:
            raise InvalidRequest(
                f"The provider {provider!r} cannot take an item of type {item.type!r}. Leave it out.",
                param=f"input[{index}]",
                code="unsupported_item",
            )


def _check_data(adapter: str, provider: str, items: Sequence[InputItem]) -> None:
    """Reject an image or a file of a user that the adapter cannot translate, by its media type.

    A part of a tool's output is replaced by a line of text instead (`without_parts`), since the tool has run.
    """
    limits = LIMITS[adapter]
    for index, item in enumerate(items):
        if not isinstance(item, UserMessage) or isinstance(item.content, str):
            continue
        for number, part in enumerate(item.content):
            problem = _problem_of(adapter, part, limits)
            if problem is not None:
                raise InvalidRequest(
                    f"The provider {provider!r} cannot take {problem}.",
                    param=f"input[{index}].content[{number}]",
                    code="unsupported_content",
                )


def _problem_of(adapter: str, part: object, limits: VendorLimits) -> str | None:
    if isinstance(part, InputImage) and adapter in _CHECKS_IMAGES and kind_of(part) == "image_data":
        head, _, data = typed_by_its_bytes(part.image_url or "").partition(",")
        media = head.removeprefix(_DATA_URL).split(";")[0].lower().replace("image/jpg", "image/jpeg")
        if not head.endswith(";base64") or not data:
            return "an image whose data URL is not in base64"
        if adapter == "anthropic" and media not in limits.images:
            takes = ", ".join(sorted(kind.removeprefix("image/") for kind in limits.images))
            return f"an image of type {media!r}. Send one of {takes}"
    if isinstance(part, InputFile) and part.file_data is not None and adapter == "anthropic":
        media = file_type(part.file_data, part.filename)
        if not media.startswith(limits.files or ("",)):
            return f"a file of type {media or 'unknown'!r}. Send a PDF, text or an image, in base64"
    return None


_SPOKEN = {
    "image_url": "an image by its address: send a data URL",
    "image_data": "images: leave it out",
    "image_id": "an image by file_id: send image_url",
    "file_data": "files: leave it out",
    "file_url": "a file by its address: send file_data",
    "file_id": "a file by file_id: send file_data or file_url",
    "audio": "audio: leave it out",
    "video": "video: leave it out",
}


def _parts_of(items: Sequence[InputItem]) -> Iterator[tuple[str, str, bool]]:
    """(path, kind, whether in a tool's output) of every part that is not text."""
    for index, item in enumerate(items):
        if isinstance(item, UserMessage):
            yield from _kinds(item.content, f"input[{index}].content", in_output=False)
        if isinstance(item, FunctionCallOutput | CustomToolCallOutput):
            yield from _kinds(item.output, f"input[{index}].output", in_output=True)


def _kinds(content: object, path: str, *, in_output: bool) -> Iterator[tuple[str, str, bool]]:
    for index, part in enumerate(content if isinstance(content, list) else []):
        if (kind := kind_of(part)) is not None:
            yield f"{path}[{index}]", kind, in_output


def kind_of(part: object) -> str | None:
    """A content part's name among `Capabilities.parts`; None for text."""
    match part:
        case InputImage(image_url=None):
            return "image_id"
        case InputImage(image_url=str(url)):
            return "image_data" if url.startswith(_DATA_URL) else "image_url"
        case InputFile():
            return "file_data" if part.file_data is not None else "file_url" if part.file_url else "file_id"
        case InputAudio():
            return "audio"
        case InputVideo():
            return "video"
    return None
