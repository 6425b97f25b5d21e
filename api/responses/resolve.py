"""Resolve: the second of three passes over a request. All that it names is loaded, once, for its owner.

Errors of this pass are about what is named and not there, not finished, in use, or too large. Whether the request goes
together with what was loaded is the third pass (`api/responses/validate.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from api.app_state import AppState
from api.conversations.lock import ReadConversation, unlocked_conversation
from api.lookup import OwnedRecords
from api.references import References
from api.responses.authorize import AuthorizedRequest
from api.responses.context import Earlier, earlier_of
from api.responses.earlier_container import earlier_container
from api.responses.held import HeldResponse
from api.responses.named_approvals import NamedApproval, named_approvals
from api.responses.waiting_programs import StoredProgram, stored_programs
from open_responses.json_types import JsonObject
from open_responses.schema.requests import CreateResponse


@dataclass(frozen=True, slots=True)
class ResolvedContext:
    """What a model reads for a request: the request itself, with the items in the place of references to them, and what
    it continues. `input_bytes` is the size of the request with these items."""

    asked: CreateResponse
    input_bytes: int
    earlier: Earlier
    conversation: ReadConversation | None = None
    held: HeldResponse | None = None

    @property
    def newest_output(self) -> Sequence[JsonObject]:
        """The items at the end of what the request continues."""
        if self.conversation is not None:
            return self.conversation.items
        if self.held is not None:
            return self.held.turns[-1].output if self.held.turns else ()
        return self.earlier.previous.output if self.earlier.previous is not None else ()

    @property
    def conversation_items(self) -> Sequence[JsonObject]:
        return self.conversation.items if self.conversation is not None else ()


@dataclass(frozen=True, slots=True)
class ResolvedRequest:
    """An authorized request, and all that it names. `container_id`: as `earlier_container` returns it.
    `programs` wait for the request."""

    authorized: AuthorizedRequest
    context: ResolvedContext
    approvals: tuple[NamedApproval, ...]
    container_id: str | None = None
    programs: tuple[StoredProgram, ...] = ()

    @property
    def asked(self) -> CreateResponse:
        return self.context.asked


async def resolve(state: AppState, authorized: AuthorizedRequest) -> ResolvedRequest:
    """Raises NotFound and InvalidRequest for what is unknown, another tenant's or not finished, Conflict for a
    conversation that another response is adding to, RequestTooLarge, ContextTooLarge, and AlreadyBegun for an
    `Idempotency-Key` whose response has been part of its conversation."""
    parsed, tenant = authorized.parsed, authorized.caller.tenant
    conversation = await unlocked_conversation(state, tenant, parsed.asked, parsed.key)
    records = OwnedRecords(state, tenant)
    context = await resolve_context(state, records, parsed.asked, parsed.size, conversation, parsed.held)
    approvals = await named_approvals(records, context.asked, context.conversation_items)
    container_id = await earlier_container(state, records, context.asked, context.earlier, context.conversation_items)
    programs = await stored_programs(records, context.asked, context.newest_output, context.conversation_items)
    return ResolvedRequest(authorized, context, approvals, container_id, programs)


async def resolve_context(
    state: AppState,
    records: OwnedRecords,
    asked: CreateResponse,
    size: int,
    conversation: ReadConversation | None = None,
    held: HeldResponse | None = None,
) -> ResolvedContext:
    """As `resolve`, without what only a new response needs."""
    shown = conversation.items if conversation is not None else ()
    references = References(records, size=size, limit=state.settings.max_body_bytes, conversation=shown)
    asked = await references.resolved(asked)
    earlier = await earlier_of(state, records, asked, conversation, held)
    return ResolvedContext(asked, references.size, earlier, conversation, held)
