"""The tools themselves: the operator's functions as hosted tools, and the client of MCP servers.

Nothing here is an activity, and nothing here imports Redis or Temporal: a third party's tool has to do with the same.
`activities/tool_calls` runs them.
"""
