"""The activities of a worker, and the parts of a worker process around them.

`sampling` makes attempts at a model turn, through the adapters in `providers`. `tool_calls` runs tool calls, through
the functions and the MCP client in `tools`. `lifecycle` has the activities at the beginning and the end of a response.
`worker` has the tasks of the process itself.
"""
