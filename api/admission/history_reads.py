"""Limits on requests that read Temporal's lists and histories: lists of responses, pending approvals, timelines.

What this prevents: one tenant whose consoles, or a script, ask for many different pages at a time, and take from
Temporal what running responses need. A count in the process is enough: it bounds what this process asks at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from open_responses.errors import RateLimited, Unavailable

# A read takes Temporal a few milliseconds, and a long history some hundred.
_AT_ONCE, _OF_A_TENANT_AT_ONCE = 12, 4
_REQUESTS, _OF_A_TENANT = 200, 32
_AGAIN_SECONDS = 1.0


@dataclass(slots=True)
class _Tenant:
    gate: asyncio.Semaphore
    requests: int = 0


@dataclass(slots=True)
class Reads:
    """The reads of one request."""

    _all: asyncio.Semaphore
    _own: asyncio.Semaphore

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """One read: waits while as many run as may, of the tenant and of all."""
        async with self._own, self._all:
            yield


@dataclass(slots=True)
class HistoryReads:
    """The requests of this process that read from Temporal for an operator or a tenant, and what they read at once."""

    at_once: int = _AT_ONCE
    of_a_tenant_at_once: int = _OF_A_TENANT_AT_ONCE
    most: int = _REQUESTS
    most_of_a_tenant: int = _OF_A_TENANT
    _tenants: dict[str, _Tenant] = field(default_factory=dict)
    _all: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._all = asyncio.Semaphore(self.at_once)

    @asynccontextmanager
    async def request(self, tenant: str) -> AsyncIterator[Reads]:
        """A request of this tenant, while it reads.

        Raises RateLimited if the tenant has as many as it may have, and Unavailable if the process has.
        """
        own = self._tenants.get(tenant)
        if own is not None and own.requests >= self.most_of_a_tenant:
            raise RateLimited(
                f"{own.requests} of your requests for lists, approvals and timelines are being answered, the most that "
                "there may be at a time. Send this one again after the time in Retry-After.",
                retry_after=_AGAIN_SECONDS,
            )
        if sum(one.requests for one in self._tenants.values()) >= self.most:
            raise Unavailable(
                "Too many lists, approvals and timelines are being read. Send your request again after the time in "
                "Retry-After.",
                code="overloaded",
                retry_after=_AGAIN_SECONDS,
            )
        if own is None:
            own = self._tenants[tenant] = _Tenant(asyncio.Semaphore(self.of_a_tenant_at_once))
        own.requests += 1
        try:
            yield Reads(self._all, own.gate)
        finally:
            own.requests -= 1
            if not own.requests:
                del self._tenants[tenant]
