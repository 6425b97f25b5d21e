"""A provider whose answers come from a file: for demonstrations, load tests, and tests of programs, without a model.

An answer is chosen by what the user said last, and its turn by the calls since then, so every worker continues any
conversation. An answer that was interrupted goes on where it was.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence

import httpx

from activities.providers.scripted.script_file import Fault, Turn, read_script
from open_responses.config import ProviderConfig
from open_responses.context.texts import texts_of
from open_responses.contracts import ListedModel, Resume, SampleCall
from open_responses.deltas import Delta, Finish, ReasoningDelta, TextDelta, ToolCallDelta, Usage
from open_responses.errors import ProviderRejected
from open_responses.schema.items import FunctionCall, InputItem, UserMessage

_WORDS = re.compile(r"\s*\S+\s*")
# The most conversations for which a process stores the number of failures.
_MOST_COUNTED = 10_000


class Scripted:
    """The adapter. `script` in its `[[providers]]` table names the file."""

    def __init__(self, config: ProviderConfig, http: httpx.AsyncClient, api_key: str | None) -> None:
        if config.script is None:
            raise ValueError("script: name the file with the answers")
        self._script = read_script(config.script)
        self._resume: Resume = config.resume or "prefill"
        self._suffered: OrderedDict[bytes, int] = OrderedDict()

    def resume_of(self, call: SampleCall) -> Resume:
        return self._resume

    async def list_models(self) -> Sequence[ListedModel]:
        """The models that the script names without a pattern."""
        names = {answer.model for answer in self._script.answers if not set(answer.model) & set("*?[")}
        return [ListedModel(name) for name in sorted(names)]

    async def sample(self, call: SampleCall) -> AsyncIterator[Delta]:
        user, turns = _position(call.items)
        answer = self._script.answer(call.model, user)
        if answer is None:
            raise ProviderRejected("The script has no answer to this. Add one without 'when' for everything else.")
        turn = answer.turn(turns)
        fault = self._due(turn.fault, call)
        await asyncio.sleep(turn.delay_seconds)
        if fault is not None and fault.after_words == 0:
            raise fault.exception()
        if turn.reasoning and not call.prefix:
            yield ReasoningDelta(turn.reasoning)
        said = 0
        async for word in _words(turn, user, call.prefix or ""):
            if fault is not None and said == fault.after_words:
                raise fault.exception()
            if call.max_output_tokens is not None and said == call.max_output_tokens:
                yield Finish("length", _usage(call, said), call.model)
                return
            said += 1
            yield TextDelta(word)
        if fault is not None:
            raise fault.exception()
        for index, wanted in enumerate(turn.calls):
            yield ToolCallDelta(index, wanted.written, f"call_{turns}_{index}", wanted.name)
        yield Finish("tool_calls" if turn.calls else "stop", _usage(call, said + len(turn.calls)), call.model)

    def _due(self, fault: Fault | None, call: SampleCall) -> Fault | None:
        if fault is None or fault.times is None:
            return fault
        key = hashlib.blake2b("\0".join(text for item in call.items for text in texts_of(item)).encode()).digest()
        suffered = self._suffered[key] = self._suffered.pop(key, 0) + 1
        if len(self._suffered) > _MOST_COUNTED:
            self._suffered.popitem(last=False)
        return fault if suffered <= fault.times else None


async def _words(turn: Turn, user: str, prefix: str) -> AsyncIterator[str]:
    """Yield the words of the turn after those that an earlier attempt has sent."""
    text = turn.said_to(user)
    for index, word in enumerate(_WORDS.findall(text.removeprefix(prefix))):
        if turn.word_seconds and index:
            await asyncio.sleep(turn.word_seconds)
        yield word


def _position(items: Sequence[InputItem]) -> tuple[str, int]:
    """Return the user's last message, and the number of turns with calls after it."""
    user, turns, is_calling = "", 0, False
    for item in items:
        if isinstance(item, UserMessage):
            user, turns = " ".join(texts_of(item)), 0
        turns += isinstance(item, FunctionCall) and not is_calling
        is_calling = isinstance(item, FunctionCall)
    return user, turns


def _usage(call: SampleCall, output_tokens: int) -> Usage:
    """Each word, and each call, counts as one token. The model reads an answer that it goes on with."""
    read = sum(
        len(text.split()) for text in (*(text for item in call.items for text in texts_of(item)), call.prefix or "")
    )
    return Usage(input_tokens=read, output_tokens=output_tokens)
