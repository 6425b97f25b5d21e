"""One attempt at a model turn: fence the log, call the provider, check the answer, append its events."""
