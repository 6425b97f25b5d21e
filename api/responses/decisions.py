"""What a request decides about stored calls: a person's approvals and denials, in the input of the next response.

What this prevents: a call that runs twice on one approval, with other arguments or at another server than those that
were shown, for another tenant, or on an approval that no response has requested. The stored call is the one that
runs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from api.responses.named_approvals import NamedApproval, StoredCall, mcp_server_of
from open_responses.config import Config
from open_responses.errors import Conflict, InvalidRequest
from open_responses.io.store.records import Record
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.approvals import Decision
from open_responses.schema.mcp_tool import HOSTED_LABEL, McpTool
from open_responses.schema.requests import CreateResponse
from open_responses.tool_use.allowed_calls import choice_allows
from open_responses.tool_use.built_in import BuiltInTool, built_in_of_label
from open_responses.tool_use.hosted_tool import hosted_names
from open_responses.tool_use.mcp_functions import is_read_only


def decisions_of(
    config: Config, asked: CreateResponse, approvals: Sequence[NamedApproval], built_in: Sequence[str] = ()
) -> list[Decision]:
    """Raises InvalidRequest for an approval for nothing, of another conversation or tenant, doubled, or one whose tool
    the request does not bring again or does not allow, and Conflict for one that was answered already.

    `built_in` are the built-in tools of the request that this server runs."""
    decisions: list[Decision] = []
    for approval in approvals:
        if any(d.approval_request_id == approval.answer.approval_request_id for d in decisions):
            raise InvalidRequest(
                "Your input answers this approval twice. Send one answer.", param=approval.param, code="invalid_value"
            )
        decisions.append(_decision(config, asked, approval, built_in))
    return decisions


def _decision(config: Config, asked: CreateResponse, approval: NamedApproval, built_in: Sequence[str]) -> Decision:
    answer, param, call = approval.answer, approval.param, approval.call
    if call is None:
        raise InvalidRequest(
            f"No approval request {answer.approval_request_id[:80]!r} found. Continue the response that asked for it.",
            param=param,
            code="approval_not_found",
        )
    stored = call.item
    if any(item.get("approval_request_id") == stored["id"] for item in call.asking.output):
        # Answered while the response ran, yes or no.
        raise already_answered(stored["id"])
    if answer.approve:
        _check_tool_is_there(config, asked, call.asking, stored, param, built_in)
        _check_is_allowed(asked, call, param)
    return Decision(
        approval_request_id=stored["id"],
        server_label=stored["server_label"],
        name=stored["name"],
        arguments=stored["arguments"],
        approve=answer.approve,
        reason=answer.reason,
    )


def _check_tool_is_there(
    config: Config, asked: CreateResponse, asking: Record, stored: JsonObject, param: str, built_in: Sequence[str]
) -> None:
    """Tools are not inherited along a chain, nor are the headers that reach them. Another server is another tool."""
    label = stored["server_label"]
    if has_tool_again(config, asked, asking, label, stored["name"], built_in):
        return
    if label == HOSTED_LABEL:
        missing = f"the hosted tool {stored['name']!r}"
    elif (tool := built_in_of_label(label)) is not None:
        missing = f"the built-in tool {tool.name!r}"
    else:
        address = _address(config, asked, label)
        missing = f"the MCP server {label!r} at the address" if address is not None else f"the MCP server {label!r}"
        missing += " for which the approval was asked" if address is not None else ""
    raise InvalidRequest(
        f"The call that you approve needs {missing}, which your 'tools' do not have. Add it to 'tools'.",
        param=param,
        code="missing_tool",
    )


def has_tool_again(
    config: Config, asked: CreateResponse, asking: Record, label: str, name: str, built_in: Collection[str]
) -> bool:
    """Whether a request brings the tool of a stored call again."""
    if label == HOSTED_LABEL:
        return name in hosted_names(asked, [tool.name for tool in config.tools])
    if (tool := built_in_of_label(label)) is not None:
        return tool.name in built_in
    address = _address(config, asked, label)
    return address is not None and address == _address(config, asking.start.request, label)


def _address(config: Config, asked: CreateResponse, label: str) -> str | None:
    """Where a request's MCP server is, without the query, which is a credential. None for a label that it has not."""
    server = mcp_server_of(asked, label)
    if server is None:
        return None
    configured = config.mcp_server(label)
    url = server.server_url or (configured.url if configured is not None else "")
    return url.partition("?")[0]


def _check_is_allowed(asked: CreateResponse, call: StoredCall, param: str) -> None:
    """An approval does not reach beyond what the request that brings it allows (REQ-2)."""
    label, name = call.item["server_label"], call.item["name"]
    allowed = choice_allows(asked.tool_choice, label, name)
    server = mcp_server_of(asked, label)
    if allowed and server is not None and server.allowed_tools is not None:
        allowed = server.offers(name, read_only=is_read_only(call.listed, name))
    if not allowed:
        raise InvalidRequest(
            f"Your request does not allow the call to {name!r} that you approve. Change its 'tool_choice'.",
            param=param,
            code="tool_not_allowed",
        )


def check_approvals_can_be_given(config: Config, asked: CreateResponse, built_in: Sequence[BuiltInTool] = ()) -> None:
    """What runs on an approval is the stored call: a response that is not stored cannot ask for one.

    Raises InvalidRequest for `store: false` with a tool that may ask.
    """
    if asked.is_stored:
        return
    names = hosted_names(asked, [tool.name for tool in config.tools])
    guarded = [tool.name for tool in config.tools if tool.name in names and tool.require_approval]
    guarded += [tool.name for tool in built_in if tool.require_approval]
    guarded += [t.server_label for t in asked.tools or [] if isinstance(t, McpTool) and t.may_need_approval]
    if guarded:
        raise InvalidRequest(
            f"'store' is false, but calls to {guarded[0]!r} may need your approval, and only a stored call can be "
            "approved. Set 'store' to true, leave the tool out, or set the MCP server's 'require_approval' to 'never'.",
            param="store",
            code="invalid_value",
        )


def already_answered(approval_request_id: str) -> Conflict:
    return Conflict(
        f"Approval {approval_request_id!r} was answered already. Read the response that asked for it.",
        code="approval_already_answered",
    )
