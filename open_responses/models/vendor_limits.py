"""The limits of each vendor's API on names, ids, schemas and images: one table for all adapters.

What this prevents: one tool of an MCP server, or one call of an earlier turn, for which a vendor refuses the whole
request. `activities/providers/shared/fitting.py` rewrites what does not fit, and restores it in the answer.

Sources: the vendors' own refusals, as public reports quote them. Names of functions: OpenAI `^[a-zA-Z0-9_-]+$`, up to
64; Gemini "must start with a letter or an underscore", up to 64 (google-gemini/gemini-cli#7869). Properties: Anthropic
`^[a-zA-Z0-9_.-]{1,64}$` (n8n-io/n8n#30590, ComposioHQ/composio#3500). Ids of calls: Chat Completions "maximum length
40" (microsoft/autogen#6377), Responses 64, Anthropic `^[a-zA-Z0-9_-]+$` (anomalyco/opencode#1279) and each id once
(NVIDIA-NeMo/Switchyard#502), Mistral nine letters and digits (editor-code-assistant/eca#233). Roots of schemas:
Anthropic "does not support oneOf, allOf, or anyOf at the top level" (anthropics/claude-code#5973). Images: the vendors'
lists of media types; Anthropic "image exceeds 5 MB maximum", of the base64 (lobehub/lobehub#14711).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

_DIGEST_CHARACTERS = 8
_ANYTHING = "\x00-\U0010ffff"
_PNG, _JPEG, _GIF, _WEBP = "image/png", "image/jpeg", "image/gif", "image/webp"


@dataclass(frozen=True, slots=True)
class NameRule:
    """The names that a vendor takes.

    Attributes:
        characters: The permitted characters, as in the brackets of a regular expression.
        longest: The most characters.
        shortest: The fewest characters.
        first: The permitted first characters, if they are fewer.
    """

    characters: str
    longest: int
    shortest: int = 1
    first: str | None = None

    def takes(self, name: str) -> bool:
        """Whether the vendor takes the name as it is."""
        if not self.shortest <= len(name) <= self.longest or not re.fullmatch(f"[{self.characters}]+", name):
            return False
        return self.first is None or re.match(f"[{self.first}]", name) is not None

    def fitted(self, name: str) -> str:
        """The name, or one that the vendor takes: the valid characters, and a digest that keeps two names apart.

        It depends on nothing but the name, so that a call of an earlier turn keeps its name when the tools change.
        """
        if self.takes(name):
            return name
        digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()
        if self.longest <= 2 * _DIGEST_CHARACTERS:
            return digest[: self.longest]
        plain = re.sub(f"[^{self.characters}]", "_", name)
        if self.first is not None and not re.match(f"[{self.first}]", plain):
            plain = f"_{plain}"
        return f"{plain[: self.longest - _DIGEST_CHARACTERS - 1]}_{digest[:_DIGEST_CHARACTERS]}"


@dataclass(frozen=True, slots=True)
class VendorLimits:
    """What one vendor's API refuses.

    Each call id is sent once, and no schema has a union at its root: all refuse that, or ignore such a schema.

    Attributes:
        function_name: The names of functions.
        property_name: The names of properties in the schemas of functions, at any depth; None for no rule.
        call_id: The ids of calls.
        images: The media types of images that are sent as data.
        image_characters: The most characters of an image's base64; None for no limit of its own.
        files: The beginnings of the media types of files that are sent as data; None for no rule. One that is not
            taken is replaced only in the output of a tool, since a tool has run already when it returns one.
        output_data: The most characters of base64 in the outputs of tools, of the whole context; None for no rule. It
            leaves about a third of the vendor's largest request to the rest: OpenAI takes 50 MB, Anthropic 32 MB, and
            Gemini 20 MB.
    """

    function_name: NameRule
    property_name: NameRule | None
    call_id: NameRule
    images: frozenset[str]
    image_characters: int | None = None
    files: tuple[str, ...] | None = None
    output_data: int | None = None


_PLAIN = r"a-zA-Z0-9_\-"
_FUNCTION = NameRule(_PLAIN, 64)
_COMMON_IMAGES = frozenset({_PNG, _JPEG, _GIF, _WEBP})

LIMITS: Mapping[str, VendorLimits] = {
    "openai": VendorLimits(
        function_name=_FUNCTION,
        property_name=None,
        call_id=NameRule(_ANYTHING, 64),
        images=_COMMON_IMAGES,
        output_data=32_000_000,
    ),
    "openai-chat": VendorLimits(
        function_name=_FUNCTION,
        # A server of this API may pass a request on to any vendor, so the strictest rule is kept.
        property_name=NameRule(rf"{_PLAIN}.", 64),
        call_id=NameRule(_ANYTHING, 40),
        images=_COMMON_IMAGES,
        output_data=32_000_000,
    ),
    "openai-chat (Mistral)": VendorLimits(
        function_name=_FUNCTION,
        property_name=NameRule(rf"{_PLAIN}.", 64),
        call_id=NameRule("a-zA-Z0-9", 9, shortest=9),
        images=_COMMON_IMAGES,
    ),
    "anthropic": VendorLimits(
        function_name=_FUNCTION,
        property_name=NameRule(rf"{_PLAIN}.", 64),
        call_id=NameRule(_PLAIN, 64),
        images=_COMMON_IMAGES,
        image_characters=5_242_880,
        files=("application/pdf", "text/", "image/"),
        output_data=20_000_000,
    ),
    "gemini": VendorLimits(
        function_name=NameRule(rf"{_PLAIN}.:", 64, first="a-zA-Z_"),
        property_name=None,
        call_id=NameRule(_ANYTHING, 64),
        images=frozenset({_PNG, _JPEG, _WEBP, "image/heic", "image/heif"}),
        files=("application/pdf", "text/", "image/", "audio/", "video/"),
        output_data=12_000_000,
    ),
    "ollama": VendorLimits(
        function_name=_FUNCTION,
        property_name=None,
        call_id=NameRule(_ANYTHING, 64),
        images=frozenset({_PNG, _JPEG, _WEBP}),
    ),
}
"""By adapter. Mistral's API is served by the adapter `openai-chat`, and has rules of its own."""

MISTRAL = "openai-chat (Mistral)"
