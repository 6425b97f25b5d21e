"""The state of one response: shared by the parts of its workflow, and handed from one run of it to the next."""

from __future__ import annotations

from dataclasses import dataclass, field

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from open_responses.json_types import JsonObject
    from open_responses.loop.output_ledger import OutputLedger
    from open_responses.loop.payloads.ending import Ending
    from open_responses.loop.payloads.programs import SuspendedProgram
    from open_responses.loop.payloads.sample import ProviderTrouble, SampleResult
    from open_responses.loop.payloads.start import Carried, StartResponse, Target
    from open_responses.loop.payloads.steering import Steer
    from open_responses.loop.payloads.usage import TurnUsage
    from open_responses.loop.search_attributes import RETRYING
    from workflows import search_attributes
    from workflows.details import details
    from workflows.tasks import current_task


@dataclass(slots=True)
class ResponseState:
    """The state of a run. `start` is the workflow's input without `carried`.

    `epoch` fences the log: each attempt and each publication has its own. `fallback` is the index of the target in use.
    `attempts` counts the attempts at all model turns, and `first_token_at` is the time of the first content. `usage`
    sums the complete model turns, `paid` the attempts so far at the present turn. `stop` is the ending that was
    requested, `stopped_in` the workflow task that received the request (0 in an earlier run), and `stopped_at` its
    time. `cut_off`: a sample was stopped in its middle, so that only the log has the end of the stream. `has_diverged`:
    the log holds other events than the output ledger, and clients were sent those. `answered_at` is the time at which a
    model's answer ended the response, as its sample recorded it. `suspended` are the programs with which the next run
    of the workflow goes on; `then` is the ending that follows them, if their model turn ended the response.
    `waits_for_client`: a program waits for the client's next request, so that this response ends. `steers` are the
    user's messages that wait for the next model turn, `steered` has the digests of all so far, by id, and `steered_in`
    the workflow tasks that received those of this run (`workflows/steering.py`); `unfit` has the targets that cannot
    take a part of them. `turn_ended_at` is the time at which the last model turn ended.
    `agent_calls` counts the calls of each agent, and `agents_usage` sums the usage of their responses.

    For an operator: `sampled_epoch` is that of the sample that runs, `trouble` the last failure of a provider,
    `awaited` has the requests for approval that wait, by id, and `waits` the model's waits, by output index.
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
    attempts: int = 0
    first_token_at: float | None = None
    reported: JsonObject | None = None
    stop: Ending | None = None
    cut_off: bool = False
    has_diverged: bool = False
    stopped_in: int = 0
    stopped_at: float | None = None
    answered_at: float | None = None
    suspended: list[SuspendedProgram] = field(default_factory=list)
    waits_for_client: bool = False
    then: Ending | None = None
    steers: list[Steer] = field(default_factory=list)
    steered: dict[str, str] = field(default_factory=dict)
    steered_in: dict[str, int] = field(default_factory=dict)
    unfit: set[int] = field(default_factory=set)
    agent_calls: dict[str, int] = field(default_factory=dict)
    agents_usage: TurnUsage | None = None
    turn_ended_at: float | None = None
    sampled_epoch: int | None = None
    trouble: ProviderTrouble | None = None
    awaited: dict[str, JsonObject] = field(default_factory=dict)
    waits: dict[int, str] = field(default_factory=dict)
    doing: str = ""

    @classmethod
    def of(cls, start: StartResponse) -> ResponseState:
        """Return the state at the start of a run: a new one, or the state that the run before handed over."""
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
            attempts=carried.attempts,
            first_token_at=carried.first_token_at,
            reported=carried.reported,
            stop=carried.stop or (Ending(status="cancelled") if carried.cancelled else None),
            suspended=carried.programs,
            then=carried.then,
            steers=list(carried.steers),
            steered=dict(carried.steered),
            unfit=set(carried.unfit),
            agent_calls=dict(carried.agent_calls),
            agents_usage=carried.agents_usage,
        )

    def handed_over(self) -> StartResponse:
        """Return the input of the run that continues the response."""
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
            attempts=self.attempts,
            first_token_at=self.first_token_at,
            reported=self.reported,
            started_at=self.started_at,
            stop=self.stop,
            programs=self.suspended,
            then=self.then,
            steers=self.steers,
            steered=self.steered,
            unfit=sorted(self.unfit),
            agent_calls=self.agent_calls,
            agents_usage=self.agents_usage,
        )
        return self.start.model_copy(update={"carried": carried})

    def next_epoch(self) -> int:
        self.epoch += 1
        return self.epoch

    def take(self, result: SampleResult) -> None:
        """Add a complete model turn."""
        self.output_ledger.absorb(result.items, result.trace)
        self.turn_ended_at = result.ended_at
        self.usage = result.usage if self.usage is None else self.usage.plus(result.usage)
        self.paid = TurnUsage()
        self.produced += result.produced
        if result.reported is not None:
            self.reported = {**(self.reported or {}), **result.reported}
        if result.finish_reason == "pause":
            # The provider has begun the call that `tool_choice` forces, and goes on with it.
            self.choice_spent = True

    def end_with(self, ending: Ending) -> None:
        """Stop the response with this ending as soon as possible. Only the first call counts."""
        if self.stop is None:
            self.stop, self.stopped_in, self.stopped_at = ending, current_task(), workflow.now().timestamp()

    def is_stopping(self) -> bool:
        return self.stop is not None

    def due_steers(self) -> list[Steer]:
        """The user's messages that wait and that an earlier workflow task recorded: a repeated task has the same."""
        now = current_task()
        return [steer for steer in self.steers if self.steered_in.get(steer.steer_id, 0) < now]

    @property
    def clock(self) -> float:
        """The end of the last model turn, in Unix seconds. The workflow's own clock differs when a task is repeated."""
        return self.started_at if self.turn_ended_at is None else self.turn_ended_at

    @property
    def target(self) -> Target:
        return self.start.targets[self.fallback]

    @property
    def next_fallback(self) -> int | None:
        """The index of the next target that can take what the user has added; None if there is none."""
        later = range(self.fallback + 1, len(self.start.targets))
        return next((index for index in later if index not in self.unfit), None)

    @property
    def may_fall_back(self) -> bool:
        return self.next_fallback is not None

    def tokens_left(self) -> int | None:
        """Output tokens left of the whole response's budget (REQ-4); None for no bound."""
        limit = self.start.request.max_output_tokens
        if limit is None:
            return None
        return max(0, limit - (self.usage.output_tokens if self.usage else 0))

    def show(self, doing: str | None = None) -> None:
        """Set the details that the Temporal UI shows to an operator. With None, the present step stays as it is."""
        self.doing = self.doing if doing is None else doing
        workflow.set_current_details(details(self))

    def note_trouble(self, trouble: ProviderTrouble) -> None:
        """Show that a provider failed and gets another attempt later, or that it answers again."""
        if trouble.next_at is None:
            self._no_attempt_is_due()
        else:
            self.trouble = trouble
            search_attributes.show_status(self.start, RETRYING)
        self.show()

    def sample_ended(self) -> None:
        """Show that no further attempt is scheduled, and ignore reports about the sample that arrive late."""
        self.sampled_epoch = None
        self._no_attempt_is_due()

    def _no_attempt_is_due(self) -> None:
        if self.trouble is not None and self.trouble.next_at is not None:
            self.trouble = self.trouble.model_copy(update={"next_at": None})
            if not self.is_stopping():
                search_attributes.show_status(self.start, "in_progress")
