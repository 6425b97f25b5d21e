"""Prepare: from a request to a response that may be started.

All that can be refused is refused here, with a plain error, before anything starts. HTTP requests and messages of a
WebSocket are prepared alike.
"""

from __future__ import annotations

from dataclasses import dataclass

from api.admission.estimates import Continues
from api.admission.limits import check_scopes
from api.app_state import AppState
from api.auth import Caller
from api.conversations.turns import ReadConversation, conversation_for_turn
from api.idempotency import IdempotencyKey
from api.lookup import OwnedRecords
from api.references import References
from api.responses.context import check_context, earlier_of
from api.responses.decisions import hold
from api.responses.held import HeldResponse
from api.responses.plan import plan
from open_responses.loop.payloads import Remembered, StartResponse
from open_responses.schema.off_loop import off_loop
from open_responses.schema.requests import CreateResponse


@dataclass(frozen=True, slots=True)
class Prepared:
    """A response that may begin: its start, the ids of the responses that it continues, oldest first, and the
    conversation that it answers, if it names one."""

    start: StartResponse
    ancestors: tuple[str, ...]
    conversation: ReadConversation | None = None


async def prepare(
    state: AppState,
    caller: Caller,
    asked: CreateResponse,
    provider_key: str | None = None,
    key: IdempotencyKey | None = None,
    held: HeldResponse | None = None,
    *,
    size: int,
    is_compaction: bool = False,
) -> Prepared:
    """Raises what the request is to be refused with. `start` has to follow at once: approvals are held, and a
    place is taken.

    `held` is the response that it continues, where a connection's memory alone has it. `size` is that of the request,
    in bytes as it came.
    """
    check_scopes(state.settings.config, caller.key, asked)
    overload = await state.backlog.overload()
    if overload is not None and (caller.key is None or not overload.moves):
        raise overload.error
    conversation = await conversation_for_turn(state, caller.tenant, asked, key)
    shown = conversation.items if conversation is not None else ()
    records = OwnedRecords(state, caller.tenant)
    references = References(records, size=size, limit=state.settings.max_body_bytes, conversation=shown)
    asked = await references.resolved(asked)
    earlier = await earlier_of(state, records, asked, conversation, held)
    check_context(state, earlier, references.size, asked)
    start = await plan(state, caller.tenant, asked, records, provider_key, key, shown, is_compaction=is_compaction)
    by_reference = earlier.remembered_bytes if conversation is not None else 0
    start = start.model_copy(update={"earlier_bytes": earlier.stored_bytes + by_reference})
    if earlier.remembered is not None:
        start = start.model_copy(update={"remembered": await _by_reference(state, earlier.remembered, conversation)})
    continues = Continues(earlier.previous, shown, held)
    start = await state.admission.admit(caller.key, caller.headers, start, overload, continues)
    try:
        # From here on it is written: to the store, to Temporal, and again where that is away.
        start = await off_loop(size, start.with_accepted_input)
        await hold(state, start.response_id, start.decisions)
    except BaseException:
        await state.admission.withdraw(start)
        raise
    return Prepared(start, earlier.ancestors, conversation)


async def _by_reference(state: AppState, remembered: Remembered, conversation: ReadConversation | None) -> Remembered:
    """What a response reads of its conversation is in files that all of the conversation's responses share."""
    if conversation is None:
        return remembered
    return await state.records.pieces.referenced(conversation.owned.id, remembered)
