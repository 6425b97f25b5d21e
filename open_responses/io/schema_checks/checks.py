"""Checks schemas, and an answer against the schema of its request (REQ-11).

A schema comes from a request or from an MCP server, so no reference of it is fetched, and it must not block the event
loop. If the cost of the schema bounds the work, the check runs in this process; any other runs in one with limits.
"""

from __future__ import annotations

from collections.abc import Sequence

from open_responses.errors import SchemaTooComplex
from open_responses.io.schema_checks import process
from open_responses.io.schema_checks.pool import CheckExceeded, SchemaProcesses
from open_responses.json_types import JsonObject
from open_responses.schema.json_schema_cost import SchemaCost, SchemaTooCostly, schema_cost
from open_responses.schema.requests import CreateResponse
from open_responses.schema.text_settings import JsonObjectFormat, JsonSchemaFormat

# About 5 ms each: a step of a compilation takes a microsecond or two, one of a validation some 20 nanoseconds.
_STEPS_COMPILED_HERE = 2_000
_STEPS_VALIDATED_HERE = 300_000
_TEXT_READ_HERE = 64 * 1024


def has_form(request: CreateResponse) -> bool:
    """Whether `text.format` requires an answer in JSON."""
    return _form(request) is not None


def _form(request: CreateResponse) -> JsonObjectFormat | JsonSchemaFormat | None:
    wanted = request.text.format if request.text is not None else None
    return wanted if isinstance(wanted, JsonObjectFormat | JsonSchemaFormat) else None


class SchemaChecks:
    """The checks. Each process of the server has one, and calls `close` at its end."""

    def __init__(self) -> None:
        self._processes = SchemaProcesses()

    async def close(self) -> None:
        """End the processes."""
        await self._processes.close()

    async def schema_problems(self, schemas: Sequence[JsonObject], tenant: str) -> list[str | None]:
        """Why each of the schemas cannot be used; None for one that can. Raises SchemaTooComplex, and Unavailable."""
        costs = [_cost(schema) for schema in schemas]
        if sum(cost.steps for cost in costs) <= _STEPS_COMPILED_HERE and all(cost.is_plain for cost in costs):
            return [process.schema_problem(schema) for schema in schemas]
        try:
            return await self._processes.check({"schemas": list(schemas)}, tenant)
        except CheckExceeded as exceeded:
            raise SchemaTooComplex(f"Your schema cannot be checked: {exceeded}. Make it simpler.") from exceeded

    async def format_problem(self, request: CreateResponse, text: str, tenant: str) -> str | None:
        """Why a text does not fit the request's `text.format`; None if it does, or may be any text.

        Raises SchemaTooComplex where the limits do not suffice to find out, and Unavailable.
        """
        wanted = _form(request)
        if wanted is None:
            return None
        schema = wanted.schema_ if isinstance(wanted, JsonSchemaFormat) else None
        if _is_read_here(schema, text):
            if schema is None:
                return process.text_problem(None, text)
            if process.is_valid(schema, text):
                return None
        request_to_process = {"schemas": [] if schema is None else [schema], "text": text}
        try:
            return (await self._processes.check(request_to_process, tenant))[0]
        except CheckExceeded as exceeded:
            raise SchemaTooComplex(
                f"The answer cannot be checked against text.format: {exceeded}. Send a simpler schema: fewer "
                "alternatives in anyOf and oneOf, fewer references to one definition, simpler patterns."
            ) from exceeded


def _is_read_here(schema: JsonObject | None, text: str) -> bool:
    if len(text) > _TEXT_READ_HERE:
        return False
    if schema is None:
        return True
    cost = _cost(schema)
    return cost.is_plain and cost.steps <= _STEPS_COMPILED_HERE and cost.steps * len(text) <= _STEPS_VALIDATED_HERE


def _cost(schema: JsonObject) -> SchemaCost:
    """The cost of a schema, also of one that an earlier version accepted and this one would reject."""
    try:
        return schema_cost(schema)
    except SchemaTooCostly:
        return SchemaCost(steps=_STEPS_COMPILED_HERE + 1, is_plain=False)
