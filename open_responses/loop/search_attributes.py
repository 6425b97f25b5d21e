"""The names of the search attributes that operators filter responses by in Temporal."""

from __future__ import annotations

MODEL = "OpenResponsesModel"
PROVIDER = "OpenResponsesProvider"
TENANT = "OpenResponsesTenant"
STATUS = "OpenResponsesStatus"
PREVIOUS = "OpenResponsesPrevious"

SEARCH_ATTRIBUTES = (MODEL, PROVIDER, TENANT, STATUS, PREVIOUS)
"""All of them; each is a keyword, and the namespace has to know it before a response is started."""
