"""The command line for operators: `open_responses`. Only `check` and `serve` need more than Python."""
