"""What the handlers work with: one of each per process, and the configuration that is in force."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.requests import HTTPConnection
from temporalio.client import Client

from api.admission.history_reads import HistoryReads
from api.admission.limits import Admission
from api.admission.open_streams import OpenStreams
from api.admission.overload import Backlog
from api.admission.reads import Reads
from api.admission.received_bytes import ReceivedBytes
from api.admission.steers_in_flight import SteersInFlight
from api.conversation_entries import KnownEntries
from api.key_ring import KeyRing
from api.readiness import Readiness
from api.recent_answers import RecentAnswers
from api.runtime_keys import RuntimeKeys
from open_responses.io.files.folder import FilesFolder
from open_responses.io.log.reader import LogHub
from open_responses.io.metrics.exposition import SdkMetrics
from open_responses.io.redis.client import Redis
from open_responses.io.redis.refusals import Refusals
from open_responses.io.schema_checks.checks import SchemaChecks
from open_responses.io.sealing import Sealer
from open_responses.io.server_readings import ServerReadings
from open_responses.io.settings import Settings
from open_responses.io.store.erasure import Eraser
from open_responses.io.store.redis_store import ResponseStore
from open_responses.io.store.repository import Records
from open_responses.io.temporal.search_attributes import NamespaceAttributes

_STATE = "open_responses.state"


@dataclass(frozen=True, slots=True)
class ConfigurationStatus:
    """When the configuration was loaded that is in force (Unix seconds), and why the file as it is now is not."""

    loaded_at: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class AppState:
    """The composition of the API's process. `live_state.py` replaces it when the configuration or the keys change."""

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
    history_reads: HistoryReads
    schema_checks: SchemaChecks
    known_entries: KnownEntries
    received: ReceivedBytes
    readings: ServerReadings
    search_attributes: NamespaceAttributes
    readiness: Readiness
    recent: RecentAnswers
    refusals: Refusals
    keys: KeyRing
    runtime_keys: RuntimeKeys
    configuration: ConfigurationStatus
    folder: FilesFolder
    sdk_metrics: SdkMetrics | None = None
    """Where a worker runs in this process."""
    steers: SteersInFlight = field(default_factory=SteersInFlight)


def state_of(connection: HTTPConnection) -> AppState:
    """The state in which the request began: a change of the configuration applies to later requests."""
    state: AppState | None = connection.scope.get(_STATE)
    if state is None:
        state = connection.scope[_STATE] = latest_state_of(connection)
    return state


def latest_state_of(connection: HTTPConnection) -> AppState:
    """The state as it is now, for the next message of a WebSocket."""
    state: AppState = connection.app.state.open_responses
    return state
