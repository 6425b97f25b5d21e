"""The names of the search attributes that operators filter responses by in Temporal."""

from __future__ import annotations

MODEL = "OpenResponsesModel"
PROVIDER = "OpenResponsesProvider"
TENANT = "OpenResponsesTenant"
STATUS = "OpenResponsesStatus"
PREVIOUS = "OpenResponsesPrevious"

SEARCH_ATTRIBUTES = (MODEL, PROVIDER, TENANT, STATUS, PREVIOUS)
"""All of them. Each is a keyword, and has to exist in the namespace before a response starts."""
