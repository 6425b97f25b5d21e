"""The API keys that operators make while the server runs: read, kept current, and changed.

Temporal has them (`workflows/api_keys.py`), Redis a copy, and each process its own, which is the one that requests are
checked against. What this prevents: a revoked key that one of the processes still accepts, and keys that stop working
because Redis was flushed, or because Temporal is away.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypeVar

import structlog
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowQueryFailedError
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError

from api.updates import send_update
from open_responses.api_keys.state import (
    API_KEYS_ID,
    API_KEYS_WORKFLOW,
    CHANGE,
    CREATE,
    REVOKE,
    ApiKeysState,
    ChangeKey,
    ChangesPage,
    ChangesQuery,
    CreateKey,
    KeysPage,
    KeysQuery,
    RevokeKey,
    StoredKey,
)
from open_responses.io.redis.api_keys import ApiKeyCopy
from open_responses.io.redis.client import Redis, RedisError
from open_responses.io.temporal.client import WORKFLOW_TASK_TIMEOUT, WorkflowAlreadyStartedError
from open_responses.io.temporal.describe import describe
from open_responses.loop.payloads.names import TASK_QUEUE
from open_responses.schema.payload import Payload

log = structlog.get_logger(__name__)

# A change is in force in all processes within two seconds, with the time that reading takes.
_LOOK_SECONDS = 0.5
# The copy in Redis is compared with Temporal after this long, by one process. It is outdated only where a process died
# between a change and its end.
_COMPARE_SECONDS = 30.0
# While Redis is away, each process asks Temporal.
_ASK_SECONDS = 1.0
_PATIENCE = timedelta(seconds=5)
_FIRST_PATIENCE_SECONDS = 2.0
_ROUNDS = 5
RENEWALS_PER_TTL = 3
"""An idle run continues as new well before the sweep deletes its large payloads."""
_TEMPORAL_FAILED = (RPCError, WorkflowQueryFailedError, TimeoutError)

Result = TypeVar("Result", bound=Payload)


class RuntimeKeys:
    """The keys as this process knows them."""

    def __init__(self, redis: Redis, temporal: Client, *, renew_seconds: float) -> None:
        self._copy = ApiKeyCopy(redis)
        self._temporal = temporal
        self._renew_seconds = renew_seconds
        self._take: Callable[[Sequence[StoredKey]], None] = lambda keys: None
        self._revision: int | None = None
        self._uses: dict[str, int] = {}
        self._asked_at = float("-inf")
        self._is_copy_older = False
        self._is_failing = False

    # --- reading

    def pass_to(self, take: Callable[[Sequence[StoredKey]], None]) -> None:
        """Call `take` with the keys after each change, beginning with the first read."""
        self._take = take

    async def read_first(self) -> None:
        """Read the keys before the first request, if that is possible in a short time. `run` goes on otherwise."""
        try:
            async with asyncio.timeout(_FIRST_PATIENCE_SECONDS):
                await self._look()
        except TimeoutError:
            log.warning("runtime_keys_not_read", reason="neither Redis nor Temporal answers")

    async def run(self) -> None:
        """Look for changes until cancelled."""
        while True:
            await self._look()
            await self._write_uses()
            await asyncio.sleep(_LOOK_SECONDS)

    def note_use(self, key_id: str) -> None:
        """Note that a key was used now. It is written with the next look."""
        self._uses[key_id] = int(time.time())

    async def last_uses(self, ids: Sequence[str]) -> dict[str, int]:
        """The last uses of these keys, as far as Redis knows them."""
        try:
            return await self._copy.last_uses(ids)
        except (RedisError, OSError):
            return {}

    async def _look(self) -> None:
        try:
            copy = await self._copy.state()
            if self._is_copy_older:
                await self._compare()
                return
            if copy is not None and copy.revision != self._revision:
                found = await self._copy.read()
                if found is not None:
                    self._apply(*found)
            if (copy is None or copy.age > _COMPARE_SECONDS) and (
                self._revision is None or await self._copy.take_look()
            ):
                await self._compare()
        except (RedisError, OSError):
            if time.monotonic() - self._asked_at > _ASK_SECONDS:
                await self._compare()

    async def _compare(self) -> None:
        """Read the keys from Temporal. While it is away, those that are known stay in force."""
        self._asked_at = time.monotonic()
        try:
            await self.read()
        except _TEMPORAL_FAILED as error:
            if not self._is_failing:
                log.warning("runtime_keys_not_compared", reason=f"{type(error).__name__}: {error}")
            self._is_failing = True
        else:
            self._is_failing = False

    async def read(self) -> None:
        """Read the keys from Temporal, and make them known to the other processes. Raises what Temporal raises."""
        try:
            began = await self._copy.now()
        except (RedisError, OSError):
            began = 0
        described = await describe(self._temporal, API_KEYS_ID)
        keys = ApiKeysState()
        if described is not None:
            if described.status != WorkflowExecutionStatus.RUNNING:
                await self._start()
            keys = await self._all()
        self._apply(keys.revision, keys.keys)
        try:
            await self._copy.store(keys.revision, keys.keys, began=began)
        except (RedisError, OSError):
            # The others ask Temporal themselves while Redis is away. When it is back, its copy is older than ours.
            self._is_copy_older = True
        else:
            self._is_copy_older = False

    async def _all(self) -> ApiKeysState:
        """All pages, of one revision."""
        for _ in range(_ROUNDS):
            keys, revisions, start = list[StoredKey](), set[int](), 0
            while True:
                page = await self._ask("page", KeysPage, KeysQuery(start=start))
                keys += page.keys
                revisions.add(page.revision)
                if page.next is None:
                    break
                start = page.next
            if len(revisions) == 1:
                return ApiKeysState(revision=revisions.pop(), keys=keys)
        raise TimeoutError("the keys change faster than they can be read")

    def _apply(self, revision: int, keys: Sequence[StoredKey]) -> None:
        if revision != self._revision:
            self._revision = revision
            self._take(keys)

    async def _write_uses(self) -> None:
        if not self._uses:
            return
        uses, self._uses = self._uses, {}
        try:
            await self._copy.used(uses)
        except (RedisError, OSError):
            self._uses = {**uses, **self._uses}

    # --- changing

    async def create(self, call: CreateKey) -> StoredKey:
        """Raises as `send_update` does, and so do `change` and `revoke`."""
        return await self._send(CREATE, call)

    async def change(self, call: ChangeKey) -> StoredKey:
        return await self._send(CHANGE, call)

    async def revoke(self, call: RevokeKey) -> StoredKey:
        return await self._send(REVOKE, call)

    async def changes(self, query: ChangesQuery) -> ChangesPage:
        """A page of the audit log. Raises what Temporal raises."""
        if await describe(self._temporal, API_KEYS_ID) is None:
            return ChangesPage(changes=[], has_more=False, knows_after=query.after is None)
        return await self._ask("changes", ChangesPage, query)

    async def _send(self, update: str, call: Payload) -> StoredKey:
        await self._start()
        changed = StoredKey.model_validate(await send_update(self._temporal, API_KEYS_ID, update, call))
        try:
            # First: if this process fails here, another one compares.
            await self._copy.outdate()
        except (RedisError, OSError):
            log.warning("runtime_keys_not_announced", reason="Redis is away; the other processes ask Temporal")
        await self._compare()
        return changed

    async def _start(self) -> None:
        """Start the workflow, unless it runs. One that an operator ended goes on from its last state."""
        described = await describe(self._temporal, API_KEYS_ID)
        state = ApiKeysState(renew_seconds=self._renew_seconds)
        if described is not None:
            if described.status == WorkflowExecutionStatus.RUNNING:
                return
            log.warning("runtime_keys_started_again", ended_as=str(described.status))
            state = await self._ask("state", ApiKeysState)
        try:
            await self._temporal.start_workflow(
                API_KEYS_WORKFLOW,
                state,
                id=API_KEYS_ID,
                task_queue=TASK_QUEUE,
                static_summary="API keys that operators made at run time",
                task_timeout=WORKFLOW_TASK_TIMEOUT,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            )
        except WorkflowAlreadyStartedError:
            return

    async def _ask(self, query: str, result: type[Result], *args: Payload) -> Result:
        handle = self._temporal.get_workflow_handle(API_KEYS_ID)
        found: Result = await handle.query(query, args=list(args), result_type=result, rpc_timeout=_PATIENCE)
        return found
