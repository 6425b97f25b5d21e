"""Registers the search attributes in Temporal's namespace.

What this prevents: a response of a new version whose workflow sets an attribute that the namespace does not know. Its
workflow task would fail again and again, and the response would never end.
"""

from __future__ import annotations

import asyncio
import time

import structlog
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from open_responses.loop.search_attributes import SEARCH_ATTRIBUTES

log = structlog.get_logger(__name__)

_TYPES = {
    "Keyword": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    "KeywordList": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD_LIST,
    "Int": IndexedValueType.INDEXED_VALUE_TYPE_INT,
    "Double": IndexedValueType.INDEXED_VALUE_TYPE_DOUBLE,
}
_NUMBERS = ("Int", "Double")
# Temporal's own caches learn of new attributes within seconds.
_AGAIN_SECONDS = 10.0
# A namespace's attributes do not depend on its load, so a slow answer is no reason to hold up a request.
_PATIENCE_SECONDS = 2.0


class NamespaceAttributes:
    """Whether this process's namespace knows all search attributes. Adds those that are missing, where it may."""

    def __init__(self, temporal: Client) -> None:
        self._temporal = temporal
        self._are_known = False
        self._next_look = 0.0
        self._one_at_a_time = asyncio.Lock()

    async def are_known(self) -> bool:
        """Whether a response may set them. Queries Temporal, at most every ten seconds, until it may."""
        if self._are_known:
            return True
        async with self._one_at_a_time:
            if not self._are_known and time.monotonic() >= self._next_look:
                self._are_known = await self._look()
                self._next_look = time.monotonic() + _AGAIN_SECONDS
        return self._are_known

    async def _look(self) -> bool:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                if await self._can_query():
                    return True
                await self._add()
                return await self._can_query()
        except (RPCError, TimeoutError) as error:
            log.info("search_attributes_unknown", reason=type(error).__name__)
        return False

    async def _can_query(self) -> bool:
        """Whether Temporal accepts a query with all attributes. Any caller may send one, also to Temporal Cloud."""
        terms = (f"{name} > 0" if kind in _NUMBERS else f"{name} = 'none'" for name, kind in SEARCH_ATTRIBUTES.items())
        query = f"WorkflowId = 'none' AND ({' OR '.join(terms)})"
        try:
            await self._temporal.count_workflows(query)
        except RPCError as error:
            if error.status == RPCStatusCode.INVALID_ARGUMENT:
                return False
            raise
        return True

    async def _add(self) -> None:
        """Add the attributes one by one, because Temporal rejects those that it already has."""
        for name, kind in SEARCH_ATTRIBUTES.items():
            request = AddSearchAttributesRequest(
                namespace=self._temporal.namespace, search_attributes={name: _TYPES[kind]}
            )
            try:
                await self._temporal.operator_service.add_search_attributes(request)
            except RPCError as error:
                if error.status == RPCStatusCode.ALREADY_EXISTS:
                    continue
                log.warning(
                    "search_attribute_missing",
                    name=name,
                    reason=error.message,
                    do=f"temporal operator search-attribute create --name {name} --type {kind}",
                )
                return
            log.info("search_attribute_added", name=name, type=kind)
