"""Prepare: from a request to a response that may be started.

All that can be refused is refused here, with a plain error, before anything starts: what the request names is loaded
(`resolve.py`), it is checked (`validate.py`), and it takes its slot among the key's requests and tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

from api.admission.overload import Overload
from api.app_state import AppState
from api.auth import Caller
from api.conversations.lock import ReadConversation
from api.responses.approval_holds import hold
from api.responses.authorize import AuthorizedRequest
from api.responses.omitted import log_omitted
from api.responses.plan import start_of
from api.responses.resolve import ResolvedRequest, resolve
from api.responses.validate import validate
from open_responses.loop.payloads.start import StartResponse
from open_responses.schema.off_loop import off_loop


@dataclass(frozen=True, slots=True)
class Prepared:
    """A response that may begin: its start, the ids of the responses that it continues, oldest first, and the
    conversation that it answers, if it names one."""

    start: StartResponse
    ancestors: tuple[str, ...]
    conversation: ReadConversation | None = None


async def prepare(state: AppState, authorized: AuthorizedRequest) -> Prepared:
    """Raises what the request is to be refused with. `start_response` has to follow at once: approvals are held, and a
    slot is taken."""
    overload = await check_room(state, authorized.caller)
    return await prepare_resolved(state, await resolve(state, authorized), overload)


async def check_room(state: AppState, caller: Caller) -> Overload | None:
    """Raises Unavailable where too much work waits; a key that has little running may be let in all the same."""
    overload = await state.backlog.overload()
    if overload is not None and (caller.key is None or not overload.moves):
        raise overload.error
    return overload


async def prepare_resolved(state: AppState, resolved: ResolvedRequest, overload: Overload | None) -> Prepared:
    """As `prepare`, from what `check_room` and `resolve` have returned."""
    caller, parsed = resolved.authorized.caller, resolved.authorized.parsed
    plan = await validate(state, resolved)
    start = await start_of(state, plan)
    start = await state.admission.admit(caller.key, caller.headers, start, overload, plan.continues)
    try:
        # From here on it is written: to the store, to Temporal, and again where that is away.
        start = await off_loop(parsed.size, start.with_accepted_input)
        of_programs = {call.approval_request_id for one in start.programs for call in one.waiting.pending}
        await hold(state, start.response_id, start.decisions, of_programs)
    except BaseException:
        await state.admission.withdraw(start)
        raise
    log_omitted(start)
    return Prepared(start, resolved.context.earlier.ancestors, resolved.context.conversation)
