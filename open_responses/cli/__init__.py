"""The command line for operators: `open_responses`. It needs the standard library alone, but for `check`."""
