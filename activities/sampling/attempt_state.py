"""The turn as one try finds it: what was asked, what the log has of it, and where the try writes."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import orjson

from activities.sampling.answer_meter import AnswerBounds, AnswerMeter
from activities.sampling.context import Context, Contexts
from activities.sampling.provider_request import build_call
from open_responses.contracts import Counters, Middleware, Provider, SampleCall, SampleContext
from open_responses.deltas import Usage
from open_responses.errors import ServerError
from open_responses.events.assembler import Assembler
from open_responses.io.log.writer import Appender, Writer
from open_responses.io.redis.breaker import Breaker
from open_responses.io.redis.client import Redis
from open_responses.io.redis.rate_limits import Quotas
from open_responses.io.schema_checks.checks import SchemaChecks
from open_responses.io.sealing import Sealer
from open_responses.json_types import JsonObject
from open_responses.loop.payloads import SampleInput
from open_responses.schema.tools import FunctionTool
from open_responses.tool_use.tool_output import without_parts
from open_responses.tool_use.tool_table import Offer

ATTEMPT = "open_responses:attempt"
# Some servers count with each chunk; one append a second is enough.
_KEEP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class TurnParts:
    """What a try works with: one of each per worker process."""

    redis: Redis
    contexts: Contexts
    appender: Appender
    breaker: Breaker
    quotas: Quotas
    providers: Mapping[str, Provider]
    adapters: Mapping[str, str]
    definitions: Mapping[str, FunctionTool]
    middleware: Sequence[Middleware]
    counters: Counters
    sealer: Sealer
    schema_checks: SchemaChecks
    log_ttl_seconds: int
    bounds: AnswerBounds = field(default_factory=AnswerBounds)


@dataclass(slots=True)
class Stage:
    """`spent` are the tokens of an answer's beginning that a lost try has paid for, by an estimate; `beside`, those
    sampled beside the answer: a summary, an answer that did not fit, one that broke off. `reported` is what the
    provider has counted of the call that is under way."""

    parts: TurnParts
    call: SampleInput
    attempt: int
    context: Context
    offer: Offer
    assembler: Assembler
    writer: Writer
    meter: AnswerMeter
    spent: int = 0
    beside: Usage = field(default_factory=Usage)
    reported: Usage | None = None
    _kept_at: float = -math.inf

    @property
    def provider(self) -> Provider:
        """Raises ServerError for a provider that this worker does not know."""
        provider = self.parts.providers.get(self.call.provider)
        if provider is None:
            raise ServerError(f"provider {self.call.provider!r} is not configured on this worker")
        return provider

    @property
    def is_budget_spent(self) -> bool:
        left = self.call.max_output_tokens
        return left is not None and self.spent + self.beside.output_tokens >= left

    @property
    def tries(self) -> int:
        """Which try at the turn this is, from 1 on: the workflow's and Temporal's together."""
        return self.call.tries + self.attempt - 1

    def sample_call(self, prefix: str | None = None, *, goes_on: bool = False) -> SampleCall:
        """The call behind the output as the log has it. Raises ServerError for what cannot be unsealed here."""
        call = build_call(
            self.call,
            self.context,
            self.offer,
            self.writer.fold,
            self.parts.sealer,
            self.spent + self.beside.output_tokens,
            prefix,
            goes_on=goes_on,
        )
        return replace(call, items=without_parts(call.items, self.parts.adapters.get(self.call.provider, "")))

    def sample_context(self, call: SampleCall) -> SampleContext:
        return SampleContext(
            call=call,
            response_id=self.call.response_id,
            tenant=self.context.start.tenant,
            turn=self.call.turn,
            attempt=self.tries,
            counters=self.parts.counters,
            used=Usage(**self.call.used.model_dump()).plus(self.beside),
        )

    def pay(self, usage: Usage) -> None:
        """Count what was sampled beside the answer, also for whoever takes over."""
        self.beside = self.beside.plus(usage)
        self.reported = None
        self._keep(self.beside)

    def report(self, usage: Usage, *, is_read_again: bool) -> None:
        """The provider's count of the call so far. It is kept in the log from time to time, for the end of a response
        whose sample is cancelled or lost; not where the same answer will be read, and counted, again."""
        self.reported = usage
        now = time.monotonic()
        if not is_read_again and now - self._kept_at >= _KEEP_SECONDS:
            self._kept_at = now
            self._keep(self.beside.plus(usage))

    def pay_reported(self) -> None:
        """Count a call that will not come to its end."""
        if self.reported is not None:
            self.pay(self.reported)

    def _keep(self, paid: Usage) -> None:
        self.writer.record({f"spent:{self.call.turn}": orjson.dumps(asdict(paid))})

    def tell_attempt(self, action: str, *, reason: str | None = None) -> None:
        """What becomes of what was told before, for those who care."""
        event: JsonObject = {
            "type": ATTEMPT,
            "turn": self.call.turn,
            "attempt": self.tries,
            "provider": self.call.provider,
            "reason": reason or self.call.lost or "retried",
            "action": action,
        }
        self.writer.write([event])
