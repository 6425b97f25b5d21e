"""Hosted tools that are agents: each call is a response of its own, which a workflow of its own runs.

The response's id follows from the call, so a call has one response at the most, however often its step is repeated.
"""

from __future__ import annotations

import hashlib

from open_responses.contracts import ToolError
from open_responses.ids import RANDOM_BYTES
from open_responses.json_types import JsonObject
from open_responses.schema.payload import Payload
from open_responses.schema.tools import FunctionTool

AGENT_LINK = "agent_response_id"
"""The member of a call's output that names the agent's response. An extension."""
LONGEST_TASK = 400_000
_PARAMETERS: JsonObject = {
    "type": "object",
    "properties": {
        "task": {
            "type": "string",
            "description": "What the agent has to do, with all that it needs to know: it sees nothing else.",
        }
    },
    "required": ["task"],
    "additionalProperties": False,
}


class AgentPlan(Payload):
    """An agent as a response that may call it has it: later changes of the configuration do not reach it.

    Attributes:
        start: The start of the agent's response as JSON, without what only the call knows.
        max_calls: The calls of one response.
        deadline_seconds: The longest time of the agent's response.
    """

    start: JsonObject
    max_calls: int
    deadline_seconds: float


def agent_function(name: str, description: str, *, strict: bool | None) -> FunctionTool:
    """The function as the model gets it."""
    return FunctionTool(type="function", name=name, description=description, parameters=_PARAMETERS, strict=strict)


def read_task(arguments: JsonObject) -> str:
    """The task of a call. Raises ToolError; the model reads the message."""
    task = arguments.get("task")
    if not isinstance(task, str) or not task.strip() or len(arguments) > 1:
        raise ToolError("Give 'task', the text of what the agent has to do, and nothing else.")
    if len(task) > LONGEST_TASK:
        raise ToolError(f"'task' may have {LONGEST_TASK} characters. Give less.")
    return task


def agent_response_id(response_id: str, call_id: str, output_index: int) -> str:
    """The id of the response that a call starts. It cannot be guessed, as its parent's cannot."""
    digest = hashlib.sha256(f"agent {response_id} {output_index} {call_id}".encode()).hexdigest()
    return "resp_" + digest[: 2 * RANDOM_BYTES]


def answer_of(response: JsonObject) -> str:
    """The text of the last message of the model, which is the call's output."""
    messages = [item for item in response["output"] if item["type"] == "message" and item["role"] == "assistant"]
    text = "".join(
        part.get("text", "") or part.get("refusal", "") for part in (messages or [{}])[-1].get("content", [])
    )
    if response["status"] == "completed":
        return text or "The agent has ended without an answer."
    reason = (response.get("incomplete_details") or {}).get("reason") or response["status"]
    return f"The agent's answer is incomplete ({reason}).\n{text}".rstrip()


def agents_in(output: list[JsonObject]) -> list[str]:
    """The ids of the agents' responses that an output names."""
    return [item[AGENT_LINK] for item in output if isinstance(item.get(AGENT_LINK), str)]
