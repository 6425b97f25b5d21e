"""The file of a scripted provider: answers, by what the user said last, and their turns (docs/providers.md)."""

from __future__ import annotations

import json
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from open_responses import errors
from open_responses.errors import ProviderError
from open_responses.json_types import JsonObject

# The longest pause. It demonstrates a slow model; a longer one would look like a server that hangs.
_LONGEST_PAUSE_SECONDS = 600.0
_MOST_REPEATS = 1_000_000

Seconds = Annotated[float, Field(ge=0, le=_LONGEST_PAUSE_SECONDS)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Fault(_Table):
    """An error instead of the rest of a turn.

    Attributes:
        error: The code of a provider's error, as in docs/errors.md.
        after_words: The words of the text that come before it.
        times: How many samples of one conversation suffer it, in each worker process; None for all.
        retry_after_seconds: The pause that the provider asks for.
    """

    error: str
    after_words: int = Field(default=0, ge=0)
    times: int | None = Field(default=None, ge=1)
    retry_after_seconds: Seconds | None = None

    @model_validator(mode="after")
    def _error_is_known(self) -> Fault:
        if self.error not in PROVIDER_ERRORS:
            raise ValueError(f"error must be one of {', '.join(sorted(PROVIDER_ERRORS))}, but is {self.error!r}")
        return self

    def exception(self) -> ProviderError:
        """The error that the provider raises."""
        return PROVIDER_ERRORS[self.error](
            "The script of this provider has an error here.", code=self.error, retry_after=self.retry_after_seconds
        )


class Call(_Table):
    """A function call. A string of `arguments` is sent unchanged, even if it is not JSON."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    arguments: JsonObject | str = {}

    @property
    def written(self) -> str:
        """The arguments as the model writes them."""
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments, ensure_ascii=False)


class Turn(_Table):
    """One model turn.

    Attributes:
        reasoning: Reasoning before the text.
        text: The text. `{input}` stands for the user's last message.
        repeat: How often the text is said.
        calls: The function calls behind the text.
        delay_seconds: The pause before the first word.
        word_seconds: The pause before each further word.
        fault: An error instead of the rest.
    """

    reasoning: str = ""
    text: str = ""
    repeat: int = Field(default=1, ge=1, le=_MOST_REPEATS)
    calls: tuple[Call, ...] = ()
    delay_seconds: Seconds = 0.0
    word_seconds: Seconds = 0.0
    fault: Fault | None = None

    def said_to(self, user: str) -> str:
        """The whole text, in answer to this message."""
        return self.text.replace("{input}", user) * self.repeat


class Answer(Turn):
    """An `[[answers]]` table: one turn, or several in `turns`.

    Attributes:
        when: A part of the user's last message, in any case; None for every message.
        model: A shell pattern that the model's name has to match.
        turns: The turns of a conversation with tools; the n-th follows the outputs of n turns with calls.
    """

    when: str | None = Field(default=None, min_length=1)
    model: str = "*"
    turns: tuple[Turn, ...] = ()

    @model_validator(mode="after")
    def _is_one_or_several(self) -> Answer:
        if self.turns and (own := self.model_fields_set & Turn.model_fields.keys()):
            raise ValueError(f"has turns, so {', '.join(sorted(own))} must be in one of them")
        return self

    def turn(self, number: int) -> Turn:
        """The turn after `number` turns with calls. Behind the last one, the model has nothing more to say."""
        turns = self.turns or (self,)
        return turns[number] if number < len(turns) else Turn(text="The script has no further turn.")

    def fits(self, model: str, user: str) -> bool:
        return fnmatchcase(model, self.model) and (self.when is None or self.when.lower() in user.lower())


class Script(_Table):
    """A whole file. The first answer that fits is given."""

    answers: tuple[Answer, ...] = Field(min_length=1)

    def answer(self, model: str, user: str) -> Answer | None:
        return next((answer for answer in self.answers if answer.fits(model, user)), None)


def read_script(path: str) -> Script:
    """Read a TOML or JSON file. Raises ValueError, in one line that names the file and the place."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        given: Any = json.loads(text) if path.endswith(".json") else tomllib.loads(text)
        return Script.model_validate(given)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from None
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise ValueError(f"{path}: {where}: {problem['msg'].removeprefix('Value error, ')}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _provider_errors() -> dict[str, type[ProviderError]]:
    found: dict[str, type[ProviderError]] = {}
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, ProviderError):
            # The base class of several with one code comes first.
            found.setdefault(kind.code, kind)
    return found


PROVIDER_ERRORS = _provider_errors()
"""Error code -> the class that a provider raises."""
