"""Settings: the environment has those of the deployment, one TOML file has providers, routes, tools and keys."""

from __future__ import annotations

import os
import socket
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import get_args

from pydantic import AliasChoices, BaseModel, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from open_responses.config import Config, ProviderConfig, RouteConfig

DEFAULT_CONFIG = "open_responses.toml"
LOCAL_MODEL = "smollm2"
LOCAL_PROVIDER = "local"
_DAY = 24 * 3600.0
_PREFIX = "OPEN_RESPONSES_"
# High enough that one setting's name is not taken for another's: TEMPORAL_UI_PORT and TEMPORAL_UI_URL have 0.84.
_NEARLY_THE_SAME = 0.88


class ConfigError(Exception):
    """A configuration that cannot be used. The message is one line: file, key, reason."""


class Settings(BaseSettings):
    """`OPEN_RESPONSES_*`, and `REDIS_URL`. Temporal's own variables are read by its SDK."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="ignore")

    config_path: str = Field(default=DEFAULT_CONFIG, validation_alias="OPEN_RESPONSES_CONFIG")
    """The configuration file. The default file need not exist."""

    redis_url: str = Field(default="redis://127.0.0.1:6380/0", validation_alias="REDIS_URL")
    """The address of Redis or Valkey. `rediss://` is TLS."""

    local_model_url: str | None = None
    """The local model of `make dev`, which is a provider if the configuration file has none."""

    worker_id: str = Field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}", pattern=r"^[^\s:]{1,200}$")
    """The worker's name in leases, logs and Temporal. Each process adds a random part, so that a process which restarts
    under the same name is another worker."""

    active_workers: int | None = Field(default=None, ge=1)
    """The number of worker processes of a version that serve at a time. Further processes stand by, and replace one
    that dies or leaves. By default each process serves."""

    deployment_name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]{1,128}$",
        validation_alias=AliasChoices("OPEN_RESPONSES_DEPLOYMENT_NAME", "TEMPORAL_DEPLOYMENT_NAME"),
    )
    """Turns Temporal's Worker Versioning on (docs/upgrades.md): the workers are versions of this deployment."""

    build_id: str | None = Field(
        default=None,
        pattern=r"^[^\s:]{1,128}$",
        validation_alias=AliasChoices("OPEN_RESPONSES_BUILD_ID", "TEMPORAL_WORKER_BUILD_ID"),
    )
    """This worker's version. By default a hash of the code that replays histories."""

    worker_metrics_port: int = Field(default=0, ge=0, le=65535)
    """The port on which a worker serves its metrics, with those of Temporal's SDK; 0 for none. Where workers stand by,
    each serving process takes the first free port from this one on."""

    api_metrics_port: int = Field(default=0, ge=0, le=65535)
    """A port of the API's metrics alone, without API keys; 0 for none. They are at `/metrics` of the API as well."""

    metrics_host: str = "127.0.0.1"
    """The address of both. Open it to a Prometheus on another machine, and to nothing else: it asks for no key."""

    temporal_ui_url: str = "http://127.0.0.1:8233"
    """The address of the Temporal UI, to which the console and the API link, and which may use `/codec`."""

    data_dir: str = ".data"
    """The folder for files: large payloads, and the key of sealed secrets. Every process needs the same folder."""

    dev_pid_dir: Path | None = None
    """Where `make dev` writes its workers' process ids. The console's button "Kill the worker" reads them."""

    ready_file: Path | None = None
    """The file that a worker writes once it is ready, with `serving` or `standby` in it, and removes when it leaves."""

    encryption_keys: str | None = Field(default=None, repr=False)
    """The keys that encrypt payloads in Temporal: base64, 32 bytes each, comma-separated. The first encrypts, each
    decrypts. Without keys, payloads are in clear, and the secrets of requests are sealed with a key in the data
    folder."""

    codec_token: str | None = Field(default=None, repr=False, min_length=16)
    """The token with which an operator's Temporal UI or CLI may decode payloads. Without a token and API keys, only
    this machine may."""

    blob_dir: str | None = None
    """The folder with payloads of 128 KiB and more, and with the keys of responses with `store: false`. Every process
    needs the same folder."""

    files_dir: str | None = None
    """The folder with uploaded files, vector stores and their catalog; `files` in the data folder by default. Every
    process needs the same folder."""

    blob_ttl_seconds: int = 60 * 24 * 3600
    """Must exceed the longest run of a response and Temporal's retention together."""

    max_body_bytes: int = 64 * 1024 * 1024
    """The longest body of a request. Images are sent inline: the limit admits one of 20 MB in base64, not three."""

    max_context_bytes: int = Field(default=128 * 1024 * 1024, gt=0)
    """The longest context of a response, as JSON: the stored responses or the conversation that it continues, and its
    input with the items that it references. Some thirty million tokens of text, or two of the largest bodies."""

    allow_open: bool = False
    """Without API keys, accept requests from other machines as well."""

    cors_origins: str = ""
    """The origins whose pages may call the API from a browser, comma-separated. `*` is any origin."""

    max_backlog: int = Field(default=1000, gt=0)
    """New responses are rejected while more tasks than this wait for a worker."""

    max_backlog_age_seconds: float = Field(default=30.0, gt=0)
    """New responses are rejected while the oldest task has waited for a worker for this long."""

    reader_copies_bytes: int = Field(default=64 * 1024 * 1024, ge=0)
    """The bytes of sent events that one API process keeps, to restore a log that Redis lost together with its writer.
    With 0, such a stream ends with `stream_lost`."""

    max_open_streams: int = Field(default=10_000, gt=0)
    """The most SSE streams and WebSockets that one API process has open, of all clients together."""

    max_received_bytes: int = Field(default=512 * 1024 * 1024, gt=0)
    """The most bytes of requests and WebSocket messages that one API process has received and not replied to."""

    start_patience_seconds: float = Field(default=20.0, gt=0)
    """The time that a request waits while Temporal cannot be reached, before it gets a 503."""

    log_messages: bool = False
    """Log the messages of exceptions as well. They may quote requests, answers and tools."""

    slow_client_seconds: float = Field(default=60.0, gt=0)
    """The API drops a stream whose client reads nothing for this long. The response goes on."""

    erase_after_seconds: float = Field(default=150.0, gt=0)
    """The time for which a response with `store: false` is kept after its last read. Must exceed the one above."""

    rewrite_redis_log: bool = False
    """After an erasure, have Redis rewrite its append-only file. For a Redis that only this server uses."""

    # The meter of answers: `activities/sampling/answer_meter.py`.
    max_turn_bytes: int = Field(default=8 * 1024 * 1024, gt=0)
    """The most bytes that a provider may send in one model turn. The rest is not read, and the response ends as
    incomplete."""

    max_response_bytes: int = Field(default=64 * 1024 * 1024, gt=0)
    """The most bytes that providers may send in one response, which then ends as incomplete."""

    max_turn_deltas: int = Field(default=500_000, gt=0)
    """The most deltas of one model turn. The response then ends as incomplete."""

    max_turn_calls: int = Field(default=128, gt=0)
    """The most tool calls of one model turn. The response then ends as incomplete."""

    max_empty_deltas: int = Field(default=10_000, gt=0)
    """The most empty deltas in a row. The response then fails."""

    response_ttl_seconds: int = 30 * 24 * 3600
    """The time for which a response is stored after its end. Temporal's retention is apart."""

    log_ttl_seconds: int = 3600
    """The time for which the event log outlives its response. Later, a replay is rebuilt from the stored trace."""

    retry_window_seconds: float = 120.0
    """The time for which a model turn is tried again while its provider is unavailable."""

    background_retry_window_seconds: float = _DAY
    """The same, in a response with `background: true`."""

    max_concurrent_samples: int = 1000
    """The most activities, model turns and tool calls, that one worker runs at a time."""

    max_cached_workflows: int = Field(default=1000, ge=0)
    """The most responses and conversations whose state one worker caches between their tasks. A state is as large as
    the request and the output together. One that is not cached is rebuilt from its history."""

    max_cached_state_bytes: int = Field(default=512 * 1024 * 1024, gt=0)
    """The memory of all states that one worker caches, by an estimate. Above it, those that have been idle for longest
    are evicted, also if they are few."""

    lease_seconds: float = 0.8
    """A worker that has not renewed its lease for this long is taken for dead, and its work is taken over."""

    keepalive_seconds: float = 15.0
    """The pause after which a silent stream gets a comment, so that proxies keep its connection."""

    socket_seconds: float = Field(default=3600.0, gt=0)
    """The longest life of a WebSocket (WS-8)."""

    socket_send_seconds: float = Field(default=30.0, gt=0)
    """The API drops a WebSocket whose client reads nothing for this long."""

    @property
    def origins(self) -> list[str]:
        """The origins in `cors_origins`."""
        return [origin.strip() for origin in self.cors_origins.split(",") if origin.strip()]

    @property
    def blobs(self) -> Path:
        """`OPEN_RESPONSES_BLOB_DIR`, or a folder in the data folder."""
        return Path(self.blob_dir) if self.blob_dir else Path(self.data_dir) / "blobs"

    @property
    def files(self) -> Path:
        """`OPEN_RESPONSES_FILES_DIR`, or a folder in the data folder."""
        return Path(self.files_dir) if self.files_dir else Path(self.data_dir) / "files"

    @cached_property
    def config(self) -> Config:
        """The configuration in force. Raises ConfigError."""
        return self.read_config()

    def with_config(self, config: Config) -> Settings:
        """A copy with another configuration in force."""
        copied = self.model_copy()
        # Where the property keeps its value.
        copied.__dict__["config"] = config
        return copied

    def read_config(self) -> Config:
        """The TOML file as it is now; the local model's route and the built-in ones follow its own.

        Raises ConfigError.
        """
        config = load_config(self.config_path)
        if self.local_model_url is not None and not config.providers:
            local = ProviderConfig(name=LOCAL_PROVIDER, adapter="openai-chat", base_url=self.local_model_url)
            route = RouteConfig(model=LOCAL_MODEL, provider=LOCAL_PROVIDER, context_window=2048)
            config = config.model_copy(update={"providers": (local,), "routes": (*config.routes, route)})
        try:
            found = config.with_built_ins()
        except ValueError as error:
            raise ConfigError(f"{self.config_path}: {error}") from None
        self._check_idle_hours(found)
        return found

    def _check_idle_hours(self, config: Config) -> None:
        """Raises ConfigError where the daily sweep would remove files of containers that are still in use."""
        table, most = config.code_interpreter, self.blob_ttl_seconds / 3600
        if table is not None and table.idle_hours > most:
            raise ConfigError(
                f"{self.config_path}: code_interpreter.idle_hours: {table.idle_hours:g} hours are longer than "
                f"OPEN_RESPONSES_BLOB_TTL_SECONDS ({self.blob_ttl_seconds}), after which the files of containers are "
                f"swept. Set idle_hours to at most {most:g}, or raise OPEN_RESPONSES_BLOB_TTL_SECONDS"
            )


def load_settings() -> Settings:
    """Read the settings of the environment. Raises ConfigError."""
    check_names(os.environ, Settings)
    try:
        settings = Settings()
    except ValidationError as error:
        raise ConfigError(f"environment: {_first(error)}") from None
    _ = settings.config
    return settings


def load_config(path: str) -> Config:
    """Read the configuration file. Without the default file, the configuration is empty. Raises ConfigError."""
    file = Path(path)
    if not file.exists():
        if path == DEFAULT_CONFIG:
            return Config()
        raise ConfigError(f"{path}: no such file. Create it, or correct OPEN_RESPONSES_CONFIG, which names it")
    try:
        return Config.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from None
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first(error)}") from None


def environment_names(settings: type[BaseSettings], field: str) -> list[str]:
    """The environment variables of a setting, the preferred one first."""
    alias = settings.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in alias.choices]
    return [str(alias) if alias is not None else f"{_PREFIX}{field.upper()}"]


def check_names(environ: Mapping[str, str], *known_by: type[BaseSettings]) -> None:
    """Reject a variable whose name is nearly that of a setting.

    A misspelt `OPEN_RESPONSES_ENCRYPTION_KEYS` would otherwise leave payloads in clear without notice. Raises
    ConfigError.
    """
    known = {
        name.removeprefix(_PREFIX)
        for settings in known_by
        for field in settings.model_fields
        for name in environment_names(settings, field)
    }
    for name in sorted(environ):
        own = name.removeprefix(_PREFIX)
        if own != name and own not in known and (near := get_close_matches(own, known, n=1, cutoff=_NEARLY_THE_SAME)):
            raise ConfigError(f"environment: {name}: unknown setting: did you mean {_PREFIX}{near[0]}?")


def _first(error: ValidationError) -> str:
    problems = error.errors(include_url=False)
    # A misspelt key is also a missing one.
    problem = next((one for one in problems if one["type"] == "extra_forbidden"), problems[0])
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
    if problem["type"] == "extra_forbidden":
        return f"{where}: unknown key: {_advice(problem['loc'])}"
    reason = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {reason}" if where else reason


def _advice(where: tuple[int | str, ...]) -> str:
    """What to do about an unknown key: the nearest name that its table knows, or all of them."""
    table: type[BaseModel] = Config
    for part in where[:-1]:
        if isinstance(part, str):
            # An array of tables is a tuple[Table, ...], a table in a table a Table | None, one of the file's a Table.
            kind = table.model_fields[part].annotation
            table = (get_args(kind) or (kind,))[0]
    known = list(table.model_fields)
    near = get_close_matches(str(where[-1]), known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"correct or remove it. Known are {', '.join(known)}"
