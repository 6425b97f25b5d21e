"""What the handlers work with: one of each per process."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import HTTPConnection
from temporalio.client import Client

from api.admission.limits import Admission
from api.admission.open_streams import OpenStreams
from api.admission.overload import Backlog
from api.admission.reads import Reads
from api.admission.received_bytes import ReceivedBytes
from api.conversation_entries import KnownEntries
from api.readiness import Readiness
from api.recent_answers import RecentAnswers
from open_responses.io.log.reader import LogHub
from open_responses.io.redis.client import Redis
from open_responses.io.schema_checks.checks import SchemaChecks
from open_responses.io.sealing import Sealer
from open_responses.io.server_readings import ServerReadings
from open_responses.io.settings import Settings
from open_responses.io.store.erasure import Eraser
from open_responses.io.store.redis_store import ResponseStore
from open_responses.io.store.repository import Records
from open_responses.io.temporal.search_attributes import NamespaceAttributes


@dataclass(frozen=True, slots=True)
class AppState:
    """The composition of the API's process."""

    settings: Settings
    redis: Redis
    temporal: Client
    store: ResponseStore
    records: Records
    hub: LogHub
    sealer: Sealer
    admission: Admission
    backlog: Backlog
    eraser: Eraser
    open_streams: OpenStreams
    reads: Reads
    schema_checks: SchemaChecks
    known_entries: KnownEntries
    received: ReceivedBytes
    readings: ServerReadings
    search_attributes: NamespaceAttributes
    readiness: Readiness
    recent: RecentAnswers


def state_of(connection: HTTPConnection) -> AppState:
    state: AppState = connection.app.state.open_responses
    return state
