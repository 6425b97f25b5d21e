"""The sessions of a campaign's clients: each asks for one response or several, and judges what comes.

What there is to ask for is in `tests/campaigns/kinds/`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.campaigns.answers import KEPT, Answer, Misfit, Verdict, check_stream
from tests.campaigns.connection import Connection
from tests.campaigns.effects import check_context
from tests.campaigns.servers import Servers
from tests.support.fake_upstream import Script, Upstream
from tests.support.stack import Event


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of session. `weight` is how often it comes in one round through all of them."""

    weight: int
    run: Callable[[Sessions, Connection], Awaitable[None]]


class Sessions:
    """The sessions of all clients. `answers` has each response that was asked for, in order."""

    def __init__(
        self,
        kinds: Mapping[str, Kind],
        connect: Callable[[], Connection],
        servers: Servers,
        upstream: Upstream,
        draw: random.Random,
        seed: str,
        patience: float,
    ) -> None:
        self.servers = servers
        self.upstream = upstream
        self.draw = draw
        self.answers: list[Answer] = []
        self._kinds = kinds
        self._connect = connect
        self._seed = seed
        self._patience = patience
        # Each kind once, whatever its weight: a short campaign has them all.
        self._round = self._shuffled(list(kinds))
        self._is_first_round = True

    @property
    def has_begun_each_kind(self) -> bool:
        return not self._is_first_round or not self._round

    async def run_one(self) -> None:
        """A session of the next kind: rounds through all kinds, each in another order."""
        if not self._round:
            self._round = self._shuffled([name for name, kind in self._kinds.items() for _ in range(kind.weight)])
            self._is_first_round = False
        await self._kinds[self._round.pop()].run(self, self._connect())

    def _shuffled(self, names: list[str]) -> list[str]:
        self.draw.shuffle(names)
        return names

    def ask(self, kind: str, **fields: Any) -> Answer:
        """Register what the model says, and count the answer."""
        number = len(self.answers)
        tag = f"{self._seed}-{number}"
        script = Script(
            tag=tag,
            words=self.draw.randrange(20, 80),
            gap=self.draw.uniform(0.0, 0.03),
            delay=self.draw.uniform(0.0, 0.3),
        )
        prompt = f"campaign {tag}?"
        self.upstream.says(prompt, script)
        body = {"model": "fake", "input": prompt, "stream": True, **fields}
        self.answers.append(Answer(kind, prompt, tag, script, body))
        return self.answers[-1]

    async def settled(self, connection: Connection, answers: list[Answer], asking: Awaitable[None]) -> bool:
        """Wait for the end, and judge. False where the session cannot go on."""
        seconds = len(answers) * self._patience
        try:
            async with asyncio.timeout(seconds):
                await asking
        except TimeoutError:
            for answer in [answer for answer in answers if answer.response is None] or answers[-1:]:
                answer.note_silence()
                waited = answer.waits_for or f"an end; {len(answer.events)} events came"
                answer.settle(Verdict.HUNG, f"waited {seconds:.0f} s for {waited}")
        except Misfit as misfit:
            unfinished = next((answer for answer in answers if answer.response is None), answers[-1])
            unfinished.settle(misfit.verdict, misfit.detail)
        except AssertionError as error:
            answers[-1].settle(Verdict.WRONG, str(error)[:500])
        for answer in answers:
            answer.ended = time.monotonic()
        for answer in answers:
            await self._judge(connection, answer)
        return all(answer.verdict in KEPT and not answer.was_ended_by_operator for answer in answers)

    async def _judge(self, connection: Connection, answer: Answer) -> None:
        """The stream is whole, and whoever asks now gets the same response and the same events."""
        try:
            async with asyncio.timeout(self._patience):
                if answer.response is not None:
                    await self._compare(connection, answer, answer.response)
        except TimeoutError:
            answer.settle(Verdict.HUNG, f"the ended response could not be read for {self._patience:.0f} s")
        except Misfit as misfit:
            answer.settle(misfit.verdict, misfit.detail)
        # Together they would fill the memory.
        answer.events = []
        answer.body.pop("input", None)

    async def _compare(self, connection: Connection, answer: Answer, response: dict[str, Any]) -> None:
        if answer.is_stored:
            stored = await connection.request("GET", f"/v1/responses/{answer.id}")
            if stored != response:
                raise Misfit(Verdict.WRONG, f"GET is {differences(stored, response)}")
            replay = await connection.replayed(str(answer.id))
            if answer.events and replay != answer.events:
                raise Misfit(Verdict.WRONG, f"the replay is not the stream: {_first_difference(replay, answer.events)}")
            answer.events = replay
        if answer.events:
            check_stream(answer)
        answer.settle(Verdict.TOLD if answer.told else Verdict.WHOLE)

    @staticmethod
    def check_context(answer: Answer, earlier: list[Answer]) -> None:
        try:
            check_context(answer, earlier)
        except Misfit as misfit:
            answer.settle(misfit.verdict, misfit.detail)


def _first_difference(replay: list[Event], stream: list[Event]) -> str:
    odd = next((pair for pair in zip(replay, stream, strict=False) if pair[0] != pair[1]), None)
    if odd is None:
        return f"{len(replay)} and {len(stream)} events"
    return f"event {odd[1]['sequence_number']}, {odd[1]['type']}: {differences(*odd)}"


def differences(seen: dict[str, Any], expected: dict[str, Any]) -> str:
    """The fields of a response that are not what they were."""
    names = [name for name in {**seen, **expected} if seen.get(name) != expected.get(name)]
    return "; ".join(f"{name} {str(seen.get(name))[:150]} and not {str(expected.get(name))[:150]}" for name in names)
