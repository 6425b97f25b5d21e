"""The workflow of the API keys that operators make at run time. There is one, with the id `api-keys`.

The state machine is `open_responses/api_keys/state.py`; this workflow passes updates and queries to it. The workflow
does not end by itself, because it has the only durable copy of the keys.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from open_responses.api_keys.state import (
        API_KEYS_WORKFLOW,
        ApiKeys,
        ApiKeysState,
        ChangeKey,
        ChangesPage,
        ChangesQuery,
        CreateKey,
        KeysPage,
        KeysQuery,
        Refused,
        RevokeKey,
        StoredKey,
    )

Result = TypeVar("Result")


@workflow.defn(name=API_KEYS_WORKFLOW)
class ApiKeysWorkflow:
    """Holds the keys. Validators reject invalid updates before they enter history."""

    @workflow.init
    def __init__(self, state: ApiKeysState) -> None:
        self._keys = ApiKeys(state)
        self._changes = 0
        self._show()

    @workflow.run
    async def run(self, state: ApiKeysState) -> None:
        """Run without end, as one run after another. A cancellation is ignored, because it would make all keys
        invalid."""
        resting = asyncio.create_task(self._rest(state.renew_seconds))
        while not resting.done():
            try:
                await workflow.wait([resting])
            except asyncio.CancelledError:
                workflow.logger.warning("a cancellation of the API keys was ignored")
        resting.result()
        workflow.continue_as_new(self._keys.state)

    async def _rest(self, seconds: float) -> None:
        """Wait until another run has to take over."""
        with contextlib.suppress(asyncio.TimeoutError):
            await workflow.wait_condition(self._is_due, timeout=timedelta(seconds=seconds), timeout_summary="renewal")
        await workflow.wait_condition(workflow.all_handlers_finished)

    @workflow.update
    def create(self, call: CreateKey) -> StoredKey:
        return self._change(lambda: self._keys.create(call))

    @create.validator
    def _check_creation(self, call: CreateKey) -> None:
        _checked(lambda: self._keys.check_creation(call))

    @workflow.update
    def change(self, call: ChangeKey) -> StoredKey:
        return self._change(lambda: self._keys.change(call))

    @change.validator
    def _check_change(self, call: ChangeKey) -> None:
        _checked(lambda: self._keys.check_change(call))

    @workflow.update
    def revoke(self, call: RevokeKey) -> StoredKey:
        return self._change(lambda: self._keys.revoke(call))

    @revoke.validator
    def _check_revocation(self, call: RevokeKey) -> None:
        _checked(lambda: self._keys.check_revocation(call))

    @workflow.query
    def page(self, query: KeysQuery) -> KeysPage:
        return self._keys.page(query)

    @workflow.query
    def changes(self, query: ChangesQuery) -> ChangesPage:
        return self._keys.changes(query)

    @workflow.query
    def state(self) -> ApiKeysState:
        """The whole state. It is the input of a new run after an operator has ended this one."""
        return self._keys.state

    def _is_due(self) -> bool:
        return self._changes >= self._keys.state.changes_per_run or workflow.info().is_continue_as_new_suggested()

    def _change(self, act: Callable[[], StoredKey]) -> StoredKey:
        key = _checked(act)
        self._changes += 1
        self._show()
        return key

    def _show(self) -> None:
        """Set the details that the Temporal UI shows to an operator."""
        keys = self._keys.state.keys
        revoked = sum(key.revoked_at is not None for key in keys)
        workflow.set_current_details(f"- keys: {len(keys) - revoked}\n- revoked: {revoked}")


def _checked(act: Callable[[], Result]) -> Result:
    try:
        return act()
    except Refused as refusal:
        raise ApplicationError(refusal.message, type=refusal.code) from None
