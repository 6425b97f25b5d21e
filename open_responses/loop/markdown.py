"""Escapes foreign text, so that Temporal's UI does not read it as Markdown.

What this prevents: a model's name, a tool's arguments or a provider's error that shows an operator a link, a picture or
a line of its own in Temporal's UI.
"""

from __future__ import annotations

import re

# Controls, line and paragraph separators, and marks that turn the direction of writing.
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\s]+")
_ACTIVE = re.compile(
    r"[\\`*\[\]<>!|~#&@$]|(?<![^\W_])_|_(?![^\W_])|(?<=:)//?|(?<=www)\.|^[-+=]|(?<=^\d)[.)]", re.IGNORECASE
)


def plain(text: str) -> str:
    """The text in one line, with a backslash before each character that Markdown, or a web address in it, would act on.
    Names and JSON stay as they are, as far as they have none of these."""
    return _ACTIVE.sub(lambda found: "".join(f"\\{character}" for character in found[0]), _UNSEEN.sub(" ", text))
