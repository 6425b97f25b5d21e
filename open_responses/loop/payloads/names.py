"""The names under which Temporal knows the task queue, the workflows, their activities and their signal.

Histories have these names, so they stay.
"""

from __future__ import annotations

TASK_QUEUE = "open-responses"
WORKFLOW = "ResponseWorkflow"
APPROVAL_WORKFLOW = "ApprovalWorkflow"
SAMPLE = "sample"
FINISH = "finish"
CLOSE_CUT_OFF_SAMPLE = "close_cut_off_sample"
PUBLISH = "publish"
LIST_MCP_TOOLS = "list_mcp_tools"
CALL_MCP_TOOL = "call_mcp_tool"
CALL_BUILT_IN_TOOL = "call_built_in_tool"
RUN_PROGRAM_STEP = "run_program_step"
CLAIM_APPROVALS = "claim_approvals"
KEEP_END = "keep_end"
REQUEST_CANCELLATION = "request_cancellation"
PROVIDER_TROUBLE = "provider_trouble"
