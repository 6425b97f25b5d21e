"""The pure part of tool use: the names that a model may call, where a call goes, and the items of calls and outputs.

Nothing here runs a tool. `activities/tool_calls` has the activities that do, `activities/tools` the functions and the
MCP client that they call, and `open_responses/schema/tools.py` the tools as a request declares them.
"""
