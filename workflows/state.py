"""The state of one response: shared by the parts of its workflow, and handed from one run of it to the next."""

from __future__ import annotations

from dataclasses import dataclass, field

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from open_responses.loop.markdown import plain
    from open_responses.loop.output_ledger import OutputLedger
    from open_responses.loop.payloads import Carried, Ending, SampleResult, StartResponse, Target, TurnUsage
    from workflows.tasks import current_task


@dataclass(slots=True)
class ResponseState:
    """The state of a run. `start` is the workflow's input without `carried`.

    `epoch` fences the log: each attempt and each publication has its own. `fallback` is the index of the target in use.
    `usage` counts the model turns that stand, `paid` the attempts so far at the turn under way. `stop` is the ending
    that was requested, `stopped_in` the workflow task that received the request (0 in an earlier run), and `stopped_at`
    its time. `cut_off`: a sample was stopped in its middle, so that only the log has the end of the stream.
    `has_diverged`: the log holds other events than the output ledger, and clients were sent those. `answered_at` is the
    time at which a model's answer ended the response, as its sample recorded it.
    """

    start: StartResponse
    started_at: float
    output_ledger: OutputLedger = field(default_factory=OutputLedger)
    epoch: int = 0
    turn: int = 0
    usage: TurnUsage | None = None
    paid: TurnUsage = field(default_factory=TurnUsage)
    produced: int = 0
    tool_calls: int = 0
    choice_spent: bool = False
    fallback: int = 0
    stop: Ending | None = None
    cut_off: bool = False
    has_diverged: bool = False
    stopped_in: int = 0
    stopped_at: float | None = None
    answered_at: float | None = None

    @classmethod
    def of(cls, start: StartResponse) -> ResponseState:
        """The state at the start of a run: fresh, or where the run before it left off."""
        carried = start.carried
        if carried is None:
            return cls(start, workflow.now().timestamp())
        return cls(
            start.model_copy(update={"carried": None}),
            carried.started_at,
            OutputLedger(carried.output, carried.trace),
            epoch=carried.epoch,
            turn=carried.turn,
            usage=carried.usage,
            tool_calls=carried.tool_calls,
            choice_spent=carried.choice_spent,
            fallback=carried.fallback,
            produced=carried.produced,
            stop=carried.stop or (Ending(status="cancelled") if carried.cancelled else None),
        )

    def handed_over(self) -> StartResponse:
        """The input of the run that goes on from here."""
        carried = Carried(
            epoch=self.epoch,
            turn=self.turn,
            output=self.output_ledger.output,
            trace=self.output_ledger.trace,
            usage=self.usage,
            tool_calls=self.tool_calls,
            choice_spent=self.choice_spent,
            fallback=self.fallback,
            produced=self.produced,
            started_at=self.started_at,
            stop=self.stop,
        )
        return self.start.model_copy(update={"carried": carried})

    def next_epoch(self) -> int:
        self.epoch += 1
        return self.epoch

    def take(self, result: SampleResult) -> None:
        """Add a model turn that stands."""
        self.output_ledger.absorb(result.items, result.trace)
        self.usage = result.usage if self.usage is None else self.usage.plus(result.usage)
        self.paid = TurnUsage()
        self.produced += result.produced

    def end_with(self, ending: Ending) -> None:
        """Stop the response with this ending as soon as possible. Only the first call counts."""
        if self.stop is None:
            self.stop, self.stopped_in, self.stopped_at = ending, current_task(), workflow.now().timestamp()

    def is_stopping(self) -> bool:
        return self.stop is not None

    @property
    def target(self) -> Target:
        return self.start.targets[self.fallback]

    @property
    def may_fall_back(self) -> bool:
        return self.fallback + 1 < len(self.start.targets)

    def tokens_left(self) -> int | None:
        """Output tokens left of the whole response's budget (REQ-4); None for no bound."""
        limit = self.start.request.max_output_tokens
        if limit is None:
            return None
        return max(0, limit - (self.usage.output_tokens if self.usage else 0))

    def show(self, doing: str) -> None:
        """Set the details that the Temporal UI shows to an operator, in Markdown."""
        usage = self.usage or TurnUsage()
        workflow.set_current_details(
            f"**{plain(doing)}** · turn {self.turn} · attempt {self.epoch}\n\n"
            f"- model {plain(self.start.request.model)} on {plain(self.target.provider)}\n"
            f"- tokens: {usage.input_tokens} in, {usage.output_tokens} out\n"
            f"- tool calls: {self.tool_calls}\n"
            f"- items: {len(self.output_ledger.output)}"
        )
