"""The vocabulary of the Responses API, the pure parts of the server, and under `io` its parts with I/O."""

__version__ = "0.1.0"
