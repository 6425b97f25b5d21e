"""Escapes text of clients, models and providers, so that Temporal's UI does not render it as Markdown.

What this prevents: the name of a model, the arguments of a tool or a provider's error that an operator sees as a link,
an image or a line of its own.
"""

from __future__ import annotations

import re

# Control characters, line and paragraph separators, and marks that change the direction of writing.
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\s]+")
_ACTIVE = re.compile(
    r"[\\`*\[\]<>!|~#&@$]|(?<![^\W_])_|_(?![^\W_])|(?<=:)//?|(?<=www)\.|^[-+=]|(?<=^\d)[.)]", re.IGNORECASE
)


def plain(text: str) -> str:
    """The text in one line, with a backslash before each character that Markdown or a web address would give a meaning.

    Names and JSON without such characters stay as they are.
    """
    return _ACTIVE.sub(lambda found: "".join(f"\\{character}" for character in found[0]), _UNSEEN.sub(" ", text))
