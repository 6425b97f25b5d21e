"""Every Redis key, in one place. Each has a time to live, which the command that creates it sets.

A response's keys share a hash tag, so that one script may touch them all on a cluster.
"""

from __future__ import annotations

LEASES = "or:leases"
"""Sorted set: worker id -> when it last renewed, in milliseconds of Redis' clock. 0: its death was
announced."""
CLAIMS = "or:claims"
"""Hash: id of a dead worker -> id of the worker that takes it over. Void where the latter has no living lease."""
OPEN = "or:open"
"""Sorted set: id of each response that has started and not ended -> when it started, in Unix seconds."""
CONTROL = "or:control"
"""Channel to all workers: `cancel <response id>`, `expired <worker id>`, and `place` when one that served leaves."""


ERASED = "or:erased"
"""String, for an hour: something was erased since the append-only file was last written anew."""
REWRITTEN = "or:rewritten"
"""String, for some seconds: the append-only file is being written anew, or was a moment ago."""


ENCRYPTION = "or:encryption"
"""String: the name of the key that the processes encrypt payloads with, since the last start of one that has keys."""

CLOSED_FENCE = str(2**53 - 1)
"""The fence of a log that nobody may write any more, since its response was erased."""


def look(at: str) -> str:
    """String, for a moment: some worker looks at the runs that have ended in Temporal, `recent` or `open`."""
    return f"or:look:{at}"


def log(response_id: str) -> str:
    """Stream: the event with sequence number N has the entry id `{N+1}-0` (Redis has no entry 0-0)."""
    return f"or:{{{response_id}}}:log"


def state(response_id: str) -> str:
    """Hash: `fence`, `run` (the workflow's run that wrote last), `cancelled`, `origin` (`Writer.origin` of the last
    writer), `origins` (those of the writers before it too: `log/origins.py`), `anew` (`log/reader.py`, `Page`);
    `turn:{n}` with the result of each turn whose events are all in the log, `resume:{n}` with the token by which a
    provider's answer can be read again; `item:{i}` with each output item that is finished, or left open for a tool that
    runs."""
    return f"or:{{{response_id}}}:state"


def record(response_id: str) -> str:
    """Hash: `start` (request), `ancestors` (ids, oldest first), and after the end `response`, `trace`."""
    return f"or:{{{response_id}}}:record"


def channel(response_id: str) -> str:
    """Channel that carries each event as it is appended: its writer's origin, a space, and the event."""
    return f"or:{{{response_id}}}:events"


def response_of(channel: str) -> str:
    """The response whose events this channel carries."""
    return channel[channel.index("{") + 1 : channel.index("}")]


def reader_copies(response_id: str, fence: int) -> str:
    """Hash, for a minute: API process -> the events that its readers were sent, for the writer with this fence."""
    return f"or:{{{response_id}}}:copies:{fence}"


def running(worker_id: str) -> str:
    """Hash: the activities that this worker runs, `Running.token` -> `Running.details`."""
    return f"or:worker:{worker_id}:running"


def places(version: str) -> str:
    """Set: ids of the workers of this version that serve. The others stand by."""
    return f"or:places:{version}"


def approval(approval_request_id: str) -> str:
    """String: the response that acts on this approval."""
    return f"or:approval:{approval_request_id}"


def mcp_tools(digest: str) -> str:
    """String: the tools of an MCP server, for a few minutes. `digest` covers tenant, address and credentials."""
    return f"or:mcp:{digest}"


def models(digest: str) -> str:
    """String: the models that a provider lists, for an hour. `digest` covers its name, adapter and address. All have
    the same hash tag, so that one command reads several."""
    return f"or:{{models}}:{digest}"


def models_refresh(digest: str) -> str:
    """String: the refresh lock: some worker asks that provider for its models, or did a moment ago."""
    return f"or:{{models}}:{digest}:turn"


def breaker(provider: str) -> str:
    """Hash: `failures` in a row, `until` when nobody is let through, in milliseconds of Redis' clock."""
    return f"or:breaker:{provider}"


def limits(account: str, what: str) -> str:
    """What one API key has used. `requests` and `tokens`: a hash, second -> count, of the last minute. `running`: a
    sorted set, response id -> when its lease ends, in milliseconds of Redis' clock. `spent:{period}`: tokens, a string.
    """
    return f"or:{{limits:{account}}}:{what}"


def counter(name: str) -> str:
    """String: a middleware's count."""
    return f"or:count:{name}"
