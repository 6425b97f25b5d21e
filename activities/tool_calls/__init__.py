"""Hosted functions and the tools of MCP servers, called as activities."""
