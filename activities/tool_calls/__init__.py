"""The activities that run one tool call: a hosted function (`runner`), or a tool of an MCP server (`mcp`).

They bound, retry, report and record the call. The code that they call is in `activities/tools`.
"""
