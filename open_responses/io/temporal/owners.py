"""Checks the owner of a workflow, in the same time for another tenant's workflow and for none.

What this prevents: a reply whose time reveals that another tenant has a workflow with an id. Temporal takes a
millisecond longer for a workflow that exists, so each negative result makes both kinds of call.
"""

from __future__ import annotations

import os

from temporalio.client import Client, WorkflowExecutionDescription

from open_responses.io.temporal.client import TENANT
from open_responses.io.temporal.describe import describe


class Owners:
    """Reads owners from the workflows' search attributes."""

    def __init__(self, temporal: Client) -> None:
        self._temporal = temporal
        self._there: str | None = None

    async def owned(self, workflow_id: str, tenant: str) -> WorkflowExecutionDescription | None:
        """The workflow, if it is this tenant's. None takes as long for another tenant's as for a missing one."""
        found = await self._describe(workflow_id)
        if found is None:
            await self._describe_one_that_is_there()
        elif found.typed_search_attributes.get(TENANT) == tenant:
            return found
        else:
            await self._describe_none()
        return None

    async def none(self) -> None:
        """Take as long as `owned` does for None."""
        await self._describe_none()
        await self._describe_one_that_is_there()

    async def _describe_none(self) -> None:
        await self._describe(f"none_{os.urandom(24).hex()}")

    async def _describe_one_that_is_there(self) -> None:
        """Describe the workflow that was found last. Before that, no caller has named another tenant's either."""
        if self._there is not None and await self._describe(self._there) is None:
            self._there = None

    async def _describe(self, workflow_id: str) -> WorkflowExecutionDescription | None:
        found = await describe(self._temporal, workflow_id)
        if found is not None:
            self._there = workflow_id
        return found
