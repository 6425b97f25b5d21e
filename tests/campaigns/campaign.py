"""A campaign: clients ask, faults happen one after the other, and each answer gets a verdict."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from tests.campaigns.answers import Answer, Misfit, Verdict
from tests.campaigns.connection import Connection
from tests.campaigns.effects import check_effects
from tests.campaigns.faults import Fault, Faults
from tests.campaigns.kinds.table import KINDS
from tests.campaigns.kinds.webhooks import check_webhooks
from tests.campaigns.report import FaultRun, Report
from tests.campaigns.servers import Servers
from tests.campaigns.sessions import Sessions, differences
from tests.support.fake_upstream import Upstream
from tests.support.lasting_keys import keys_without_ttl

_PROGRESS_SECONDS = 30.0
# Time for clients to come back between two faults, in which some begin and others end.
_BETWEEN_SECONDS = (0.3, 2.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """It ends when it has had so many responses and faults, or after so many seconds, and a session of each kind."""

    seed: str
    clients: int = 8
    responses: int = 0
    faults: int = 0
    seconds: float | None = None
    patience: float = 180.0
    """How long one response may take, faults included, until it counts as hung."""
    pause: tuple[float, float] = (2.0, 6.0)
    """How long something stays frozen, cut off, slow or full, in seconds."""
    without: frozenset[str] = frozenset()
    """Names of faults that are left out."""
    only: frozenset[str] = frozenset()
    """Names of the faults that there are; all, where none is named."""
    kinds: frozenset[str] = frozenset()
    """Names of the kinds of sessions that there are; all, where none is named."""

    def has(self, fault: str) -> bool:
        return fault not in self.without and (not self.only or fault in self.only)


class Campaign:
    """`await Campaign(servers, upstream, plan).run()` returns the report; `say` gets a line of progress."""

    def __init__(
        self, servers: Servers, upstream: Upstream, plan: Plan, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self._servers = servers
        self._plan = plan
        self._say = say
        self._http = httpx.AsyncClient(base_url=servers.stack.api_url, trust_env=False)
        draw = random.Random(f"clients {plan.seed}")
        kinds = {name: kind for name, kind in KINDS.items() if not plan.kinds or name in plan.kinds}
        self._sessions = Sessions(kinds, self._connection, servers, upstream, draw, plan.seed, plan.patience)
        self._draw = random.Random(f"faults {plan.seed}")
        self._runs: list[FaultRun] = []
        self._began = time.monotonic()

    async def run(self) -> Report:
        """Raises what the harness itself fails with: a server that does not start again."""
        possible = Faults(self._servers, self._draw, self._in_flight, self._plan.pause).possible()
        faults = [fault for fault in possible if self._plan.has(fault.name)]
        if not faults:
            raise ValueError(f"none of these faults is possible here: {sorted(self._plan.only)}")
        async with self._http:
            progress = asyncio.create_task(self._show_progress())
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._break_things(faults))
                    for _ in range(self._plan.clients):
                        group.create_task(self._use())
                await self._servers.heal()
                await self._ask_again()
            finally:
                progress.cancel()
        check_effects(self._sessions.answers, self._servers.stack.data / "hosted")
        check_webhooks(self._sessions.answers, self._servers.receiver)
        return self._report(await asyncio.to_thread(keys_without_ttl, self._servers.stack.redis_url))

    def _connection(self) -> Connection:
        return Connection(self._http, self._servers.stack.api_url)

    def _is_over(self) -> bool:
        plan, elapsed = self._plan, time.monotonic() - self._began
        if not self._sessions.has_begun_each_kind:
            return False
        if plan.seconds is not None:
            return elapsed > plan.seconds
        return len(self._sessions.answers) >= plan.responses and len(self._runs) >= plan.faults

    def _in_flight(self) -> list[Answer]:
        return [answer for answer in self._sessions.answers if answer.ended is None and answer.response is None]

    async def _use(self) -> None:
        while not self._is_over():
            await self._sessions.run_one()

    async def _break_things(self, possible: list[Fault]) -> None:
        """Rounds through all faults, each in another order: every fault comes as often as its weight says."""
        while True:
            round_ = [fault for fault in possible for _ in range(fault.weight)]
            self._draw.shuffle(round_)
            for fault in round_:
                await asyncio.sleep(self._draw.uniform(*_BETWEEN_SECONDS))
                if self._is_over():
                    return
                await self._break(fault)

    async def _break(self, fault: Fault) -> None:
        run = FaultRun(fault.name, time.monotonic())
        self._runs.append(run)
        try:
            await fault.act()
        except (OSError, TimeoutError, AssertionError) as error:
            run.problem = f"{type(error).__name__}: {error}"
        await self._servers.heal()
        run.healed = time.monotonic()

    async def _ask_again(self) -> None:
        """After all faults, each response is still what its client was given."""
        connection = self._connection()
        for answer in self._sessions.answers:
            if answer.response is None or not answer.is_stored:
                continue
            try:
                async with asyncio.timeout(self._plan.patience):
                    now = await connection.request("GET", f"/v1/responses/{answer.id}")
            except Misfit as misfit:
                answer.settle(misfit.verdict, f"at the end of the campaign: {misfit.detail}")
            except TimeoutError:
                answer.settle(Verdict.HUNG, "could not be read at the end of the campaign")
            else:
                if answer.operated == "terminate" and answer.was_ended_by_operator:
                    # A run without a result: where Redis loses the end, it is built again from what the run had by
                    # then.
                    kept = all(now[name] == answer.response[name] for name in ("status", "error"))
                else:
                    kept = now == answer.response
                if not kept:
                    found = differences(now, answer.response)
                    answer.settle(Verdict.WRONG, f"at the end of the campaign: {found}")

    async def _show_progress(self) -> None:
        while True:
            await asyncio.sleep(_PROGRESS_SECONDS)
            counts = Counter(answer.verdict for answer in self._sessions.answers if answer.verdict is not None)
            running = len(self._sessions.answers) - counts.total()
            shown = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
            elapsed = time.monotonic() - self._began
            self._say(f"{elapsed:5.0f} s: {len(self._runs)} faults; {shown}; {running} in flight")

    def _report(self, lasting_keys: list[str]) -> Report:
        return Report(
            self._plan.seed,
            self._began,
            time.monotonic() - self._began,
            # Behind an end that an operator made, a session does not ask the rest.
            [answer for answer in self._sessions.answers if answer.id is not None or answer.verdict is not None],
            self._runs,
            self._servers.left_out(),
            lasting_keys,
        )
