"""Padding of delta events, so that their sizes on the wire do not tell which words a model writes (REQ-14).

The padding follows from the event, so that a stream that is read again is the same to the byte; it hides lengths, and
an observer of an encrypted connection sees nothing else.
"""

from __future__ import annotations

import hashlib

from open_responses.events.event_types import PADDED_EVENTS

_PADDED = frozenset(name.encode() for name in PADDED_EVENTS)
# Deltas of up to so many bytes all look the same; longer ones are rounded up to a multiple.
_STEP = 32
_EMPTY = b',"obfuscation":""}'


def obfuscated(event: bytes) -> bytes:
    """The encoded event with an `obfuscation` member, if it is one of those that carry a model's words."""
    if event[9 : event.index(b'"', 9)] not in _PADDED:
        return event
    missing = -(len(event) - 1 + len(_EMPTY)) % _STEP
    padding = hashlib.blake2b(event, digest_size=_STEP // 2).hexdigest()[:missing].encode()
    return event[:-1] + b',"obfuscation":"' + padding + b'"}'
