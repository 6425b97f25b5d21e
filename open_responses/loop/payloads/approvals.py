"""The payloads of approvals: a decision, the answer to a call that the workflow holds, and the claim of an approval."""

from __future__ import annotations

from open_responses.schema.payload import Payload


class Decision(Payload):
    """A person's decision about a stored call. The stored name and arguments run, not those that the client sends."""

    approval_request_id: str
    server_label: str
    name: str
    arguments: str
    approve: bool
    reason: str | None = None

    @classmethod
    def without_call(cls, approval_request_id: str, approve: bool) -> Decision:
        """Yes or no alone, without content."""
        return cls(approval_request_id=approval_request_id, server_label="", name="", arguments="", approve=approve)


class ApprovalAnswer(Payload):
    """The argument of the update `answer_approval`: a person's decision about a call that the workflow holds."""

    approval_request_id: str
    approve: bool
    reason: str | None = None


class ApprovalClaim(Payload):
    """A used approval, and the response that used it.

    The record outlives both responses, also if they are deleted. It therefore has no content: the call and the person's
    reason are left out. `decision` keeps its fields, because processes of earlier versions write and read them all.
    `nonce` is that of the response's start (`StartResponse`); None in claims of earlier versions.
    """

    response_id: str
    decision: Decision
    nonce: str | None = None

    @classmethod
    def of(cls, response_id: str, decision: Decision, nonce: str | None) -> ApprovalClaim:
        """The claim without content."""
        kept = Decision.without_call(decision.approval_request_id, decision.approve)
        return cls(response_id=response_id, decision=kept, nonce=nonce)

    def agrees_with(self, own: ApprovalClaim) -> bool:
        """Whether both claims are of the same response, with the same decision.

        The id of a response with an `Idempotency-Key` follows from the key, so a later response may get the id of one
        that was deleted or has expired. Only the nonce distinguishes the two.
        """
        if (self.response_id, self.decision.approve) != (own.response_id, own.decision.approve):
            return False
        return self.nonce is None or own.nonce is None or self.nonce == own.nonce


class ClaimInput(Payload):
    """The input of the activity that claims approvals for a response that has begun.

    `decisions` are those in the response's request, or that of a live answer. `nonce` is that of its start.
    """

    response_id: str
    decisions: list[Decision]
    nonce: str | None = None


class ClaimResult(Payload):
    """`refused`: the ids of the approvals that another response has used."""

    refused: list[str] = []
