"""What the server answers, as JSON Schema, by hand: output items are plain JSON objects, made by the assembler.

The specification's schemas say the same where both speak; `tests/api/test_openapi.py` holds each to the other, and
every answer of the suite's scenarios to these. Objects are open: members may be added, and are, by newer versions.
"""

from __future__ import annotations

from collections.abc import Mapping

from open_responses.events.event_types import EVENT_TYPES, EventType
from open_responses.json_types import JsonObject
from open_responses.schema.items import PROVIDER_ITEM_TYPES, REFUSED_CALL
from open_responses.schema.response import STATUS_TRANSITIONS

TEXT: JsonObject = {"type": "string"}
WHOLE: JsonObject = {"type": "integer"}
COUNT: JsonObject = {"type": "integer", "minimum": 0}
NUMBER: JsonObject = {"type": "number"}
BOOLEAN: JsonObject = {"type": "boolean"}
OBJECT: JsonObject = {"type": "object"}


def ref(name: str) -> JsonObject:
    return {"$ref": f"#/components/schemas/{name}"}


def const(value: str) -> JsonObject:
    return {"type": "string", "const": value}


def one(*values: str) -> JsonObject:
    return {"type": "string", "enum": list(values)}


def array(items: JsonObject) -> JsonObject:
    return {"type": "array", "items": items}


def any_of(*schemas: JsonObject) -> JsonObject:
    return {"anyOf": list(schemas)}


def nullable(schema: JsonObject) -> JsonObject:
    return any_of(schema, {"type": "null"})


def record(
    says: str, members: Mapping[str, JsonObject], optional: Mapping[str, JsonObject] | None = None
) -> JsonObject:
    """An open object; every one of `members` is always there."""
    told = {"description": says} if says else {}
    return {"type": "object", **told, "properties": {**members, **(optional or {})}, "required": list(members)}


def _item(kind: str, says: str, members: Mapping[str, JsonObject], **optional: JsonObject) -> JsonObject:
    return record(says, {"type": const(kind), "id": TEXT, "status": ref("ItemStatus"), **members}, optional)


_MCP = {"server_label": TEXT, "name": TEXT, "arguments": TEXT}
ITEMS: dict[str, JsonObject] = {
    "Message": _item(
        "message",
        "What the model says.",
        {"role": const("assistant"), "content": array(any_of(ref("OutputTextPart"), ref("RefusalPart")))},
        phase=one("commentary", "final_answer"),
    ),
    "FunctionCallItem": _item(
        "function_call",
        "A call: the client's to answer, or, with an output behind it, one that the server has run.",
        {"call_id": TEXT, "name": TEXT, "arguments": TEXT},
    ),
    "FunctionCallOutputItem": _item(
        "function_call_output",
        "What a hosted tool returned.",
        {"call_id": TEXT, "output": any_of(TEXT, array(OBJECT))},
    ),
    "ReasoningItem": _item(
        "reasoning",
        "What the model thought. `encrypted_content` is read again by the provider that made it.",
        {"summary": array(ref("SummaryTextPart")), "content": array(ref("ReasoningTextPart"))},
        encrypted_content=nullable(TEXT),
    ),
    "CompactionItem": record(
        "A conversation in fewer words, sealed: to be sent as input.",
        {"type": const("compaction"), "id": TEXT, "encrypted_content": TEXT},
        {"status": ref("ItemStatus"), "created_by": TEXT},
    ),
    "McpListToolsItem": _item(
        "mcp_list_tools",
        "What an MCP server can do.",
        {"server_label": TEXT, "tools": array(OBJECT), "error": nullable(any_of(TEXT, OBJECT))},
    ),
    "McpCallItem": _item(
        "mcp_call",
        "A call of an MCP server's tool, made by this server.",
        {
            **_MCP,
            "output": nullable(TEXT),
            "error": nullable(any_of(TEXT, OBJECT)),
            "approval_request_id": nullable(TEXT),
        },
    ),
    "McpApprovalRequestItem": _item(
        "mcp_approval_request", "A call that waits for a person's word: `POST …/approvals`, or the next input.", _MCP
    ),
    "RefusedCallItem": _item(
        REFUSED_CALL,
        "An extension: a call that was not run, and why.",
        {"call_id": TEXT, "name": TEXT, "arguments": TEXT, "reason": TEXT},
    ),
    "ProviderItem": record(
        "What a provider's built-in tool did, in the provider's own form.",
        {
            "type": one(*sorted(kind for kinds in PROVIDER_ITEM_TYPES.values() for kind in kinds)),
            "id": TEXT,
            "status": ref("ItemStatus"),
        },
    ),
}

_TOOLS = record(
    "A tool as it was offered: a function, `mcp`, or a provider's own.",
    {"type": TEXT},
    {
        "name": TEXT,
        "description": nullable(TEXT),
        "parameters": nullable(OBJECT),
        "strict": nullable(BOOLEAN),
        "server_label": TEXT,
        "server_url": TEXT,
    },
)
_USAGE = record(
    "Summed over every turn of the loop.",
    {
        "input_tokens": COUNT,
        "input_tokens_details": record("", {"cached_tokens": COUNT}, {"cache_write_tokens": COUNT}),
        "output_tokens": COUNT,
        "output_tokens_details": record("", {"reasoning_tokens": COUNT}),
        "total_tokens": COUNT,
    },
    {"open_responses:estimated": BOOLEAN},
)
_RESPONSE = record(
    "A response as it stands. Settings are echoed with the value that takes effect.",
    {
        "id": TEXT,
        "object": const("response"),
        "created_at": WHOLE,
        "completed_at": nullable(WHOLE),
        "status": ref("ResponseStatus"),
        "incomplete_details": nullable(record("", {"reason": TEXT})),
        "model": TEXT,
        "previous_response_id": nullable(TEXT),
        "instructions": nullable(any_of(TEXT, array(OBJECT))),
        "output": array(ref("OutputItem")),
        "error": nullable(record("Why it failed.", {"code": TEXT, "message": TEXT})),
        "tools": array(ref("EchoedTool")),
        "tool_choice": any_of(one("none", "auto", "required"), OBJECT),
        "truncation": one("auto", "disabled"),
        "parallel_tool_calls": BOOLEAN,
        "text": record(
            "", {"format": record("", {"type": TEXT})}, {"verbosity": nullable(one("low", "medium", "high"))}
        ),
        "top_p": NUMBER,
        "presence_penalty": NUMBER,
        "frequency_penalty": NUMBER,
        "top_logprobs": WHOLE,
        "temperature": NUMBER,
        "reasoning": nullable(record("", {"effort": nullable(TEXT), "summary": nullable(TEXT)})),
        "usage": nullable(ref("Usage")),
        "max_output_tokens": nullable(WHOLE),
        "max_tool_calls": nullable(WHOLE),
        "store": BOOLEAN,
        "background": BOOLEAN,
        "service_tier": TEXT,
        "metadata": {"type": "object", "additionalProperties": TEXT},
        "safety_identifier": nullable(TEXT),
        "prompt_cache_key": nullable(TEXT),
    },
    {"conversation": nullable(record("", {"id": TEXT}))},
)
_LISTED_ITEM = record("An item of an input or of a conversation.", {"type": TEXT, "id": TEXT})


def _page(of: str) -> JsonObject:
    return record(
        "A page. `last_id` as `after` gives the next one.",
        {
            "object": const("list"),
            "data": array(ref(of)),
            "first_id": nullable(TEXT),
            "last_id": nullable(TEXT),
            "has_more": BOOLEAN,
        },
    )


ANSWERS: dict[str, JsonObject] = {
    "ResponseStatus": one(*STATUS_TRANSITIONS),
    "ItemStatus": one("in_progress", "completed", "incomplete", "failed"),
    "OutputTextPart": record(
        "",
        {"type": const("output_text"), "text": TEXT, "annotations": array(OBJECT), "logprobs": array(ref("LogProb"))},
    ),
    "RefusalPart": record("", {"type": const("refusal"), "refusal": TEXT}),
    "ReasoningTextPart": record("", {"type": const("reasoning_text"), "text": TEXT}),
    "SummaryTextPart": record("", {"type": const("summary_text"), "text": TEXT}),
    "LogProb": record(
        "",
        {
            "token": TEXT,
            "logprob": NUMBER,
            "bytes": array(COUNT),
            "top_logprobs": array(record("", {"token": TEXT, "logprob": NUMBER, "bytes": array(COUNT)})),
        },
    ),
    **ITEMS,
    "OutputItem": any_of(*(ref(name) for name in ITEMS)),
    "EchoedTool": _TOOLS,
    "Usage": _USAGE,
    "Response": _RESPONSE,
    "DeletedResponse": record("", {"id": TEXT, "object": const("response"), "deleted": {"const": True}}),
    "Compacted": record(
        "Send `output` as the beginning of a new chain.",
        {
            "id": TEXT,
            "object": const("response.compaction"),
            "created_at": WHOLE,
            "output": array(any_of(ref("CompactionItem"), ref("ListedItem"))),
            "usage": ref("Usage"),
        },
    ),
    "InputTokens": record("", {"object": const("response.input_tokens"), "input_tokens": COUNT}),
    "ListedItem": _LISTED_ITEM,
    "ItemPage": _page("ListedItem"),
    "Model": record("", {"id": TEXT, "object": const("model"), "created": WHOLE, "owned_by": TEXT}),
    "ModelList": record("", {"object": const("list"), "data": array(ref("Model"))}),
    "Conversation": record(
        "",
        {
            "id": TEXT,
            "object": const("conversation"),
            "created_at": WHOLE,
            "metadata": {"type": "object", "additionalProperties": TEXT},
        },
    ),
    "DeletedConversation": record(
        "", {"id": TEXT, "object": const("conversation.deleted"), "deleted": {"const": True}}
    ),
    "Health": record("", {"status": TEXT}, {"missing": {"type": "object", "additionalProperties": TEXT}}),
    "Error": record(
        "`code` says what is wrong, `param` where (`input[2].content`). The codes: docs/errors.md.",
        {
            "error": record(
                "",
                {
                    "message": TEXT,
                    "type": one("invalid_request", "not_found", "too_many_requests", "server_error", "model_error"),
                    "param": nullable(TEXT),
                    "code": nullable(TEXT),
                },
            )
        },
    ),
}


# The schema of each member that an event has beside `type` and `sequence_number`; `_member` adds `part`.
_MEMBERS: dict[str, JsonObject] = {
    "response": ref("Response"),
    "item": ref("OutputItem"),
    "error": record("", {"type": TEXT, "code": nullable(TEXT), "message": TEXT, "param": nullable(TEXT)}),
    "annotation": nullable(OBJECT),
    "logprobs": array(ref("LogProb")),
    **dict.fromkeys(("item_id", "delta", "text", "refusal", "arguments", "message"), TEXT),
    **dict.fromkeys(("provider", "reason", "action"), TEXT),
    **dict.fromkeys(("output_index", "content_index", "summary_index", "annotation_index", "turn"), COUNT),
    "attempt": WHOLE,
}
_CONTENT_PART = any_of(ref("OutputTextPart"), ref("RefusalPart"), ref("ReasoningTextPart"))


def _member(name: str, row: EventType) -> JsonObject:
    if name == "part":
        return ref("SummaryTextPart") if row.part_index == "summary_index" else _CONTENT_PART
    return _MEMBERS[name]


EVENTS: dict[str, JsonObject] = {
    row.name: record(
        "",
        {
            "type": const(row.name),
            "sequence_number": COUNT,
            **{member: _member(member, row) for member in row.members},
        },
        {"obfuscation": TEXT} if row.padded else {},
    )
    for row in EVENT_TYPES.values()
}
