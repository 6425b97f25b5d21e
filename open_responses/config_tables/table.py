"""The base of the tables of the configuration file."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Table(BaseModel):
    """A table of the file. An unknown key is an error: a typo would otherwise change the behaviour without notice."""

    model_config = ConfigDict(extra="forbid", frozen=True)
