"""The record of one response as Redis has it, and the answers to a look-up that finds none."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import orjson

from open_responses.json_types import JsonObject
from open_responses.loop.payloads.start import StartResponse
from open_responses.schema.off_loop import collector_paused


@dataclass(frozen=True)
class Record:
    """One response.

    Attributes:
        written: The start as JSON. It is parsed at the first use of `start`: a chain loads 500 records without a use.
        ancestors: The chain before it, oldest first. Empty if they are not known.
        response: The final resource as JSON; None while the response runs.
        knows_ancestors: False if the record was loaded without ancestors, or Redis has lost them.
    """

    written: bytes
    ancestors: tuple[str, ...]
    response: bytes | None
    knows_ancestors: bool = True

    @classmethod
    def of(cls, start: StartResponse, ancestors: tuple[str, ...], response: bytes | None) -> Record:
        """Make the record of a start."""
        return cls(encoded_start(start), ancestors, response)

    @property
    def size(self) -> int:
        """The length in bytes of JSON."""
        return len(self.written) + len(self.response or b"")

    @cached_property
    def start(self) -> StartResponse:
        """The start, parsed at the first use."""
        with collector_paused():
            return StartResponse.model_validate_json(self.written)

    @cached_property
    def output(self) -> list[JsonObject]:
        """The items of the final response; empty while it runs."""
        if self.response is None:
            return []
        output: list[JsonObject] = orjson.loads(self.response)["output"]
        return output


@dataclass(frozen=True, slots=True)
class Deleted:
    """A tombstone. The response is deleted, also if Temporal still has it."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A record of another tenant, or a tombstone, whose owner is not known."""


@dataclass(frozen=True, slots=True)
class TooLong:
    """A record that is longer than the caller's bound. It was not read."""

    size: int


def encoded_start(start: StartResponse) -> bytes:
    """Return the JSON of a start as it is stored."""
    return start.model_dump_json(exclude_unset=True, exclude={"carried"}).encode()


def decoded(
    deleted: bytes | None, start: bytes | None, response: bytes | None, ancestors: bytes | None = None
) -> Record | Deleted | None:
    """Return the record, or the tombstone, in fields of Redis; None if there is neither."""
    if deleted is not None:
        return Deleted()
    if start is None:
        return None
    chain = tuple(ancestors.decode().split(",")) if ancestors else ()
    # A response without ancestors has an empty field; without the field, they are not known.
    return Record(start, chain, response, knows_ancestors=ancestors is not None)
