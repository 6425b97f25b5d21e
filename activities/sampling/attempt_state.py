"""One sampling attempt: the input it was given, and its state while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import orjson

from activities.sampling.answer_meter import AnswerBounds, AnswerMeter
from activities.sampling.attempt_progress import AttemptProgress
from activities.sampling.background_generation import BackgroundAnswer
from activities.sampling.context import Context, Contexts
from activities.sampling.provider_request import build_call
from open_responses.contracts import Counters, Middleware, Provider, SampleCall, SampleContext
from open_responses.deltas import Usage
from open_responses.errors import ServerError
from open_responses.io.log.appender import Appender
from open_responses.io.log.fences import fence
from open_responses.io.log.writer import Writer
from open_responses.io.prices.price_table import PriceTable
from open_responses.io.redis.breaker import Breaker
from open_responses.io.redis.client import Redis
from open_responses.io.redis.rate_limits import Quotas
from open_responses.io.schema_checks.checks import SchemaChecks
from open_responses.io.sealing import Sealer
from open_responses.io.telemetry.spans import Span
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.sample import SampleInput
from open_responses.loop.payloads.start import Target
from open_responses.schema.price import CostEstimate
from open_responses.schema.tools import FunctionTool
from open_responses.tool_use.tool_output import without_parts
from open_responses.tool_use.tool_table import ToolTable

ATTEMPT = "open_responses:attempt"
# Some providers report usage with each chunk; one write a second is enough.
_KEEP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class SampleParts:
    """The clients and settings that all attempts of a worker process share."""

    redis: Redis
    contexts: Contexts
    appender: Appender
    breaker: Breaker
    quotas: Quotas
    prices: PriceTable
    providers: Mapping[str, Provider]
    adapters: Mapping[str, str]
    definitions: Mapping[str, FunctionTool]
    middleware: Sequence[Middleware]
    counters: Counters
    sealer: Sealer
    schema_checks: SchemaChecks
    log_ttl_seconds: int
    bounds: AnswerBounds = field(default_factory=AnswerBounds)


@dataclass(frozen=True, slots=True)
class SampleAttempt:
    """The input of one attempt at a model turn.

    `number` is Temporal's attempt at this activity, from 1 on. `cancel` stops the attempt at once: called when the log
    says that the response was cancelled. `background` is the answer that the provider generates for the attempt
    whether or not it is read. `span` is the attempt's part of the trace.
    """

    parts: SampleParts
    call: SampleInput
    number: int
    cancel: Callable[[], None]
    background: BackgroundAnswer
    span: Span

    @property
    def fence(self) -> int:
        return fence(self.call.epoch, self.number)

    @property
    def number_in_turn(self) -> int:
        """The attempt's number in its model turn, from 1 on: the workflow's attempts and Temporal's together."""
        return self.call.tries + self.number - 1

    @property
    def provider(self) -> Provider:
        """Raises ServerError for a provider that this worker does not know."""
        provider = self.parts.providers.get(self.call.provider)
        if provider is None:
            raise ServerError(
                f"Provider {self.call.provider!r} is not in this worker's configuration. Give all workers the same."
            )
        return provider


@dataclass(frozen=True, slots=True)
class AttemptState:
    """An attempt whose log is fenced: the context that the model reads, the writer, and the progress."""

    attempt: SampleAttempt
    context: Context
    tool_table: ToolTable
    writer: Writer
    meter: AnswerMeter
    progress: AttemptProgress

    @property
    def max_output_tokens(self) -> int | None:
        """The tokens that are left of the turn's output budget."""
        budget = self.attempt.call.max_output_tokens
        return None if budget is None else budget - self.progress.output_tokens

    @property
    def is_budget_spent(self) -> bool:
        left = self.max_output_tokens
        return left is not None and left <= 0

    def sample_call(self, *, goes_on: bool = False) -> SampleCall:
        """Return the call to the provider, after the output in the log. Raises ServerError for a secret that this
        worker cannot unseal."""
        parts, call = self.attempt.parts, self.attempt.call
        sampled = build_call(
            call,
            self.context,
            self.tool_table,
            self.writer.fold,
            parts.sealer,
            max_output_tokens=self.max_output_tokens,
            goes_on=goes_on,
        )
        return replace(sampled, items=without_parts(sampled.items, parts.adapters.get(call.provider, "")))

    def sample_context(self, sampled: SampleCall) -> SampleContext:
        """The context that middlewares get."""
        call = self.attempt.call
        return SampleContext(
            call=sampled,
            response_id=call.response_id,
            tenant=self.context.start.tenant,
            turn=call.turn,
            attempt=self.attempt.number_in_turn,
            counters=self.attempt.parts.counters,
            used=Usage(**call.used.model_dump()).plus(self.progress.beside),
        )

    @property
    def target(self) -> Target:
        return self.context.start.targets[self.attempt.call.fallback]

    def priced(self, usage: Usage) -> Usage:
        """The usage of one model call with its cost."""
        call, tier = self.attempt.call, self.context.start.request.service_tier
        own = self.target.price
        return self.attempt.parts.prices.priced(call.provider, call.upstream_model, usage, own=own, tier=tier)

    def estimate(self, sent: int, answer: int) -> CostEstimate:
        """Return the highest cost of a call that sends and receives this many tokens. Call `prices_ready` first."""
        tier = self.context.start.request.service_tier
        return self.attempt.parts.prices.estimate(self.target, sent, answer, tier=tier)

    async def prices_ready(self) -> None:
        """Wait until the price of a call can be computed."""
        await self.attempt.parts.prices.ready(self.attempt.call.provider, self.target.price)

    def pay(self, usage: Usage) -> None:
        """Count the usage of a call beside the answer. It goes into the log as well, where the next attempt reads
        it."""
        self.progress.beside = self.progress.beside.plus(self.priced(usage))
        self.progress.reported = None
        self._keep(self.progress.beside)

    def report(self, usage: Usage, *, is_read_again: bool) -> None:
        """Take the provider's usage of the call so far.

        The usage is written into the log from time to time, for a response whose sample is cancelled or lost. It is not
        written if the next attempt would read the same answer again, and so count it again.
        """
        progress, now = self.progress, time.monotonic()
        progress.reported = usage
        if not is_read_again and now - progress.kept_at >= _KEEP_SECONDS:
            progress.kept_at = now
            self._keep(progress.beside.plus(self.priced(usage)))

    def pay_reported(self) -> None:
        """Count the usage of a call that ends early."""
        if self.progress.reported is not None:
            self.pay(self.progress.reported)

    def _keep(self, paid: Usage) -> None:
        self.writer.record({f"spent:{self.attempt.call.turn}": orjson.dumps(asdict(paid))})

    def write_attempt_event(self, action: str, *, reason: str | None = None) -> None:
        """Write an `open_responses:attempt` event, with the decision about the partial answer of the attempt before."""
        call = self.attempt.call
        event: JsonObject = {
            "type": ATTEMPT,
            "turn": call.turn,
            "attempt": self.attempt.number_in_turn,
            "provider": call.provider,
            "reason": reason or call.lost or "retried",
            "action": action,
        }
        self.writer.write([event])
