"""Traces, and the log lines at the start and the end of each response."""
