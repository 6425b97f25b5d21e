"""The tools themselves: the operator's functions as hosted tools, and the client of MCP servers.

This package has no activities, and imports neither Redis nor Temporal, just as a third party's tool.
`activities/tool_calls` runs the tools.
"""
