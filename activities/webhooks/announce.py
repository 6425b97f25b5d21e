"""Starts the deliveries of a response's events."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio import activity
from temporalio.client import Client

from open_responses.io.temporal.webhook_deliveries import start_deliveries
from open_responses.webhooks.deliveries import ANNOUNCE_WEBHOOKS, AnnounceInput


@dataclass(frozen=True, slots=True)
class AnnounceActivity:
    """The activity, with the client that it uses. Safe to run twice: a delivery is started once."""

    temporal: Client

    @activity.defn(name=ANNOUNCE_WEBHOOKS)
    async def announce(self, call: AnnounceInput) -> None:
        """Raises RPCError if Temporal is away."""
        await start_deliveries(self.temporal, call.deliveries())
