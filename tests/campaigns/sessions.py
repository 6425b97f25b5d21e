"""What the clients of a campaign do: each session asks for one response or several, and checks what comes."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tests.campaigns.answers import KEPT, Answer, Misfit, Verdict, check_stream
from tests.campaigns.connection import Connection
from tests.campaigns.effects import check_context, check_conversation
from tests.support.fake_upstream import Script, Upstream, calls

# A payload larger than 128 KiB goes to the folder that a full disk makes unwritable.
_LARGE_BYTES = 200_000
_HOSTED = [{"type": "function", "name": "once"}, {"type": "function", "name": "get_weather"}]
_MCP = [{"type": "mcp", "server_label": "calc", "require_approval": "never", "allowed_tools": ["note", "add"]}]


class Sessions:
    """The sessions of all clients. `answers` has each response that was asked for, in order."""

    def __init__(
        self, connect: Callable[[], Connection], upstream: Upstream, draw: random.Random, seed: str, patience: float
    ) -> None:
        self._connect = connect
        self._upstream = upstream
        self._draw = draw
        self._seed = seed
        self._patience = patience
        self.answers: list[Answer] = []
        self._kinds: dict[str, tuple[int, Callable[[Connection], Awaitable[None]]]] = {
            "stream": (5, self._stream),
            "background stream": (2, self._background_stream),
            "background poll": (2, self._poll),
            "plain JSON": (2, self._plain),
            "not stored": (2, self._not_stored),
            "large input": (2, self._large),
            "hosted tools": (4, self._hosted_tools),
            "MCP": (2, self._mcp),
            "web search": (2, self._web_search),
            "chain": (1, self._chain),
            "WebSocket": (2, self._socket),
            "conversation": (1, self._conversation),
        }

    async def run_one(self) -> None:
        """A session of a drawn kind."""
        weights = [weight for weight, _ in self._kinds.values()]
        (kind,) = self._draw.choices(list(self._kinds), weights)
        await self._kinds[kind][1](self._connect())

    async def _stream(self, connection: Connection) -> None:
        answer = self._ask("stream")
        await self._settled(connection, [answer], connection.stream(answer))

    async def _background_stream(self, connection: Connection) -> None:
        answer = self._ask("background stream", background=True)
        await self._settled(connection, [answer], connection.stream(answer))

    async def _poll(self, connection: Connection) -> None:
        answer = self._ask("background poll", stream=False)
        await self._settled(connection, [answer], connection.poll(answer))

    async def _plain(self, connection: Connection) -> None:
        answer = self._ask("plain JSON", stream=False)
        await self._settled(connection, [answer], connection.plain(answer))

    async def _not_stored(self, connection: Connection) -> None:
        answer = self._ask("not stored", store=False)
        await self._settled(connection, [answer], connection.stream(answer))

    async def _large(self, connection: Connection) -> None:
        answer = self._ask("large input", store=self._draw.random() < 0.5)
        # Bytes that compress to half; a prompt of its own behind them.
        filler = self._draw.randbytes(_LARGE_BYTES).hex()
        answer.body["input"] = [
            {"type": "message", "role": "user", "content": text} for text in (filler, answer.prompt)
        ]
        await self._settled(connection, [answer], connection.stream(answer))

    async def _hosted_tools(self, connection: Connection) -> None:
        answer = self._ask("hosted tools", background=self._draw.random() < 0.3, tools=_HOSTED)
        wanted = (("a", "once", {"text": answer.prompt}), ("b", "get_weather", {"city": "Rome"}))
        self._upstream.says(answer.prompt, calls(*wanted, turns=[answer.script]))
        await self._settled(connection, [answer], connection.stream(answer))

    async def _mcp(self, connection: Connection) -> None:
        answer = self._ask("MCP", tools=_MCP)
        self._upstream.says(answer.prompt, calls(("a", "note", {"text": answer.prompt}), turns=[answer.script]))
        await self._settled(connection, [answer], connection.stream(answer))

    async def _web_search(self, connection: Connection) -> None:
        """Two searches side by side."""
        answer = self._ask("web search", tools=[{"type": "web_search"}])
        wanted = [(name, "web_search", {"query": f"{name} in {answer.prompt}"}) for name in ("workers", "tenants")]
        self._upstream.says(answer.prompt, calls(*wanted, turns=[answer.script]))
        await self._settled(connection, [answer], connection.stream(answer))

    async def _chain(self, connection: Connection) -> None:
        done: list[Answer] = []
        for _ in range(3):
            before = {"previous_response_id": done[-1].id} if done else {}
            answer = self._ask("chain", **before)
            ask = connection.poll if self._draw.random() < 0.3 else connection.stream
            answer.body["stream"] = ask == connection.stream
            if not await self._settled(connection, [answer], ask(answer)):
                return
            self._check_context(answer, done)
            done.append(answer)

    async def _socket(self, connection: Connection) -> None:
        answers = [self._ask("WebSocket"), self._ask("WebSocket")]
        await self._settled(connection, answers, connection.turns(answers))

    async def _conversation(self, connection: Connection) -> None:
        """Two turns; the items are looked at behind them, unless an operator has ended one."""
        done: list[Answer] = []
        conversation: dict[str, Any] = {}
        for _ in range(2):
            answer = self._ask("conversation")

            async def turn(answer: Answer = answer) -> None:
                if not conversation:
                    conversation.update(await connection.request("POST", "/v1/conversations", json={}))
                answer.body["conversation"] = conversation["id"]
                await connection.stream(answer)
                path = f"/v1/conversations/{conversation['id']}/items"
                added = [] if answer.was_ended_by_operator else [answer]
                listed = await connection.request("GET", path, params={"order": "asc", "limit": "100"})
                check_conversation(listed["data"], [*done, *added])

            if not await self._settled(connection, [answer], turn()):
                return
            self._check_context(answer, done)
            done.append(answer)

    def _ask(self, kind: str, **fields: Any) -> Answer:
        """Register what the model says, and count the answer."""
        number = len(self.answers)
        tag = f"{self._seed}-{number}"
        script = Script(
            tag=tag,
            words=self._draw.randrange(20, 80),
            gap=self._draw.uniform(0.0, 0.03),
            delay=self._draw.uniform(0.0, 0.3),
        )
        prompt = f"campaign {tag}?"
        self._upstream.says(prompt, script)
        body = {"model": "fake", "input": prompt, "stream": True, **fields}
        self.answers.append(Answer(kind, prompt, tag, script, body))
        return self.answers[-1]

    async def _settled(self, connection: Connection, answers: list[Answer], asking: Awaitable[None]) -> bool:
        """Wait for the end, and judge. False where the session cannot go on."""
        seconds = len(answers) * self._patience
        try:
            async with asyncio.timeout(seconds):
                await asking
        except TimeoutError:
            for answer in answers:
                if answer.response is None:
                    answer.note_silence()
                    answer.settle(Verdict.HUNG, f"no end in {seconds:.0f} s; {len(answer.events)} events came")
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
        answer.body.pop("input")

    async def _compare(self, connection: Connection, answer: Answer, response: dict[str, Any]) -> None:
        if answer.is_stored:
            stored = await connection.request("GET", f"/v1/responses/{answer.id}")
            if stored != response:
                raise Misfit(Verdict.WRONG, f"GET is {differences(stored, response)}")
            replay = await connection.replayed(str(answer.id))
            if answer.events and replay != answer.events:
                raise Misfit(Verdict.WRONG, f"the replay is not the stream: {len(replay)}, {len(answer.events)} events")
            answer.events = replay
        if answer.events:
            check_stream(answer)
        answer.settle(Verdict.TOLD if answer.told else Verdict.WHOLE)

    @staticmethod
    def _check_context(answer: Answer, earlier: list[Answer]) -> None:
        try:
            check_context(answer, earlier)
        except Misfit as misfit:
            answer.settle(misfit.verdict, misfit.detail)


def differences(seen: dict[str, Any], expected: dict[str, Any]) -> str:
    """The fields of a response that are not what they were."""
    names = [name for name in {**seen, **expected} if seen.get(name) != expected.get(name)]
    return "; ".join(f"{name} {str(seen.get(name))[:150]} and not {str(expected.get(name))[:150]}" for name in names)
