"""The event log of a response: append to it, take it over, read it."""
