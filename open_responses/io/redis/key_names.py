"""The names of all Redis keys. Each key has a time to live, which the command that creates it sets.

The keys of a response share a hash tag, so that one script can use them all on a cluster.
"""

from __future__ import annotations

LEASES = "or:leases"
"""Sorted set: worker id -> its last renewal, in milliseconds of Redis' clock. 0: its death was announced."""
CLAIMS = "or:claims"
"""Hash: id of a dead worker -> id of the worker that takes it over. Void if the latter has no valid lease."""
OPEN = "or:open"
"""Sorted set: id of each response that has started and not ended -> the time of its start, in Unix seconds."""
CONTROL = "or:control"
"""Channel to all workers: `cancel <response id>`, `expired <worker id>`, and `place` when a worker frees its place."""


TAKEOVERS = "or:takeovers"
"""List: the newest takeovers of dead workers (`takeovers.py`)."""


ERASED = "or:erased"
"""String, for an hour: something was erased since the last rewrite of the append-only file."""
REWRITTEN = "or:rewritten"
"""String, for some seconds: a rewrite of the append-only file has begun."""


ENCRYPTION = "or:encryption"
"""String: the name of the key that encrypts payloads, written by the last process with keys that started."""

FILES_FOLDERS = "or:files_folders"
"""Sorted set, for a minute: the id of each files folder in use, the time of its mark, and a machine that has it -> the
last look, in seconds of Redis' clock (`io/files/folder_agreement.py`)."""

API_KEYS = "or:{api_keys}"
"""Hash: a copy of the API keys that were made at run time. `revision`, `keys` (JSON), `stored`, when these were
written, and `checked`, when they were compared with Temporal, in milliseconds of Redis' clock."""
API_KEYS_LOOK = "or:{api_keys}:look"
"""String, for some seconds: an API process reads the keys from Temporal."""
API_KEYS_USED = "or:{api_keys}:used"
"""Hash: id of an API key -> its last use, in Unix seconds."""

CLOSED_FENCE = str(2**53 - 1)
"""The fence of the log of an erased response. It rejects every writer."""


def look(at: str) -> str:
    """String, for a moment: a worker checks the runs that have ended in Temporal, `recent` or `open`."""
    return f"or:look:{at}"


def log(response_id: str) -> str:
    """Stream: the event with sequence number N has the entry id `{N+1}-0` (Redis has no entry 0-0)."""
    return f"or:{{{response_id}}}:log"


def state(response_id: str) -> str:
    """Hash: the state of a response's log.

    - `fence`, `run` (the workflow's run that wrote last), `cancelled`;
    - `origin` (`Writer.origin` of the last writer), `origins` (those of the writers before it too: `log/origins.py`),
      `anew` (`log/reader.py`, `Page`);
    - `cost` of a response that has ended, if it is known;
    - `turn:{n}` with the result of each model turn whose events are all in the log;
    - `resume:{n}` with the token by which a provider's answer can be read again;
    - `item:{i}` with each output item that is finished, or left open for a tool that runs.
    """
    return f"or:{{{response_id}}}:state"


def record(response_id: str) -> str:
    """Hash: `start` (request), `ancestors` (ids, oldest first), and after the end `response`, `trace`."""
    return f"or:{{{response_id}}}:record"


def channel(response_id: str) -> str:
    """Channel of the events as they are appended. A message is the writer's origin, a space, and the event."""
    return f"or:{{{response_id}}}:events"


def response_of(channel: str) -> str:
    """The response of a channel of events."""
    return channel[channel.index("{") + 1 : channel.index("}")]


def reader_copies(response_id: str, fence: int) -> str:
    """Hash, for a minute: API process -> the events that it sent to its readers, for the writer with this fence."""
    return f"or:{{{response_id}}}:copies:{fence}"


def running(worker_id: str) -> str:
    """Hash: the activities that this worker runs, `Running.token` -> `Running.details`."""
    return f"or:worker:{worker_id}:running"


def places(version: str) -> str:
    """Set: the ids of the workers of this version that have a place. The others stand by."""
    return f"or:places:{version}"


def approval(approval_request_id: str) -> str:
    """String: the response that holds or has used this approval."""
    return f"or:approval:{approval_request_id}"


def mcp_tools(digest: str) -> str:
    """String: the tools of an MCP server, for a few minutes. `digest` covers tenant, address and credentials."""
    return f"or:mcp:{digest}"


def models(digest: str) -> str:
    """String: the models that a provider lists, for an hour.

    `digest` covers its name, adapter and address. All have the same hash tag, so that one command reads several.
    """
    return f"or:{{models}}:{digest}"


def models_refresh(digest: str) -> str:
    """String: the refresh lock of a provider's list. The worker that has it requests the list, or has just done so."""
    return f"or:{{models}}:{digest}:turn"


def breaker(provider: str) -> str:
    """Hash: the state of a provider's breaker.

    `failures` in a row, `error` with the code of the last one, and `until`, the end of the wait, in milliseconds of
    Redis' clock.
    """
    return f"or:breaker:{provider}"


def limits(account: str, what: str) -> str:
    """The use of one API key's limits.

    `requests` and `tokens`: hash, second -> count, of the last minute. `running`: sorted set, response id -> the end of
    its lease, in milliseconds of Redis' clock. `spent:{period}` and `usd:{period}`: strings, the tokens and their
    cost in billionths of a US dollar.
    """
    return f"or:{{limits:{account}}}:{what}"


USAGE_WHOLE = "or:{usage}:whole"
"""String: the counts of usage have all that Temporal has. Lost with them."""


USAGE_REBUILDING = "or:{usage}:rebuilding"
"""String, for a minute: a worker counts the usage of all responses again."""


def usage(day: str, tenant: str) -> str:
    """Hash: `{what}:{model}` -> what the tenant used on that UTC day (`usage_counters.py`)."""
    return f"or:{{usage}}:{day}:{tenant}"


def usage_tenants(day: str) -> str:
    """Set: the tenants with usage on that day. A tenant's name may be any text, so the prefix differs."""
    return f"or:{{usage}}tenants:{day}"


def usage_counted(day: str) -> str:
    """Set: a digest of the id of each response that is in the day's counts."""
    return f"or:{{usage}}counted:{day}"


def refusals(hour: int) -> str:
    """Hash: tenant, code, status and path of refused requests as JSON -> how many there were in this hour."""
    return f"or:{{refusals}}:{hour}"


def refusals_last(hour: int) -> str:
    """Hash: the same fields -> time and request id of the last one, as JSON."""
    return f"or:{{refusals}}:{hour}:last"


def counter(name: str) -> str:
    """String: a count of a middleware."""
    return f"or:count:{name}"
