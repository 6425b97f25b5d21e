"""Settings: the environment for deployment, one TOML file for what is routed where."""

from __future__ import annotations

import os
import socket
import tomllib
from functools import cached_property
from pathlib import Path

from pydantic import AliasChoices, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from open_responses.config import Config, ProviderConfig, RouteConfig

DEFAULT_CONFIG = "open_responses.toml"
LOCAL_MODEL = "smollm2"
_DAY = 24 * 3600.0


class ConfigError(Exception):
    """A configuration that cannot be used. Its text is one line: file, key, reason."""


class Settings(BaseSettings):
    """`OPEN_RESPONSES_*`, and `REDIS_URL`. Temporal's own variables are read by its SDK."""

    model_config = SettingsConfigDict(env_prefix="OPEN_RESPONSES_", extra="ignore")

    config_path: str = Field(default=DEFAULT_CONFIG, validation_alias="OPEN_RESPONSES_CONFIG")
    redis_url: str = Field(default="redis://127.0.0.1:6380/0", validation_alias="REDIS_URL")
    local_model_url: str | None = None
    worker_id: str = Field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}", pattern=r"^[^\s:]{1,200}$")
    """The worker's name in leases, logs and Temporal. Each process adds a random part: after a restart the same name
    belongs to another worker."""

    active_workers: int | None = Field(default=None, ge=1)
    """How many worker processes of a version serve at a time. More of them stand by, warm, for one that dies or leaves.
    By default each serves."""

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
    """This worker's version. By default a hash of the code that decides how a response goes on."""

    worker_metrics_port: int = 0
    temporal_ui_url: str = "http://127.0.0.1:8233"
    data_dir: str = ".data"
    encryption_keys: str | None = Field(default=None, repr=False)
    """Base64, 32 bytes each, comma-separated; the first seals, any opens. Payloads in Temporal are encrypted with them.
    Without them they are not, and what a request brings of secrets is sealed with a key that is in the data folder."""

    codec_token: str | None = Field(default=None, repr=False, min_length=16)
    """What an operator's Temporal UI or CLI has to show to have payloads decoded. Without it, and without API keys,
    only this machine may."""

    blob_dir: str | None = None
    """Payloads of 128 KiB and more, for Temporal's histories, and the keys of responses that are not to be stored:
    every process must see the same folder."""

    blob_ttl_seconds: int = 60 * 24 * 3600
    """Must exceed the longest run of a response and Temporal's retention together."""

    max_body_bytes: int = 64 * 1024 * 1024
    """Images are sent inline: three of 20 MB, in base64, are refused; one is not."""

    max_context_bytes: int = Field(default=128 * 1024 * 1024, gt=0)
    """All that a response resolves to, as JSON: the stored responses or the conversation that it continues, and its
    input with what it refers to. That is some thirty million tokens of text, or two of the largest bodies."""

    allow_open: bool = False
    """Without API keys, answer those who come from other machines as well."""

    cors_origins: str = ""
    """Comma-separated; pages of these origins may call the API from a browser. `*`: of all."""

    max_backlog: int = Field(default=1000, gt=0)
    max_backlog_age_seconds: float = Field(default=30.0, gt=0)
    """New responses are refused while more tasks than this wait for a worker, or the oldest has waited this long."""

    reader_copies_bytes: int = Field(default=64 * 1024 * 1024, ge=0)
    """What one API process keeps of the events that it sends, to restore a log that Redis lost together with its
    writer. 0 keeps none: such a stream ends with `stream_lost`."""

    max_open_streams: int = Field(default=10_000, gt=0)
    """SSE answers and WebSockets that one API process has open at most, whoever opened them."""

    max_received_bytes: int = Field(default=512 * 1024 * 1024, gt=0)
    """Of requests, and of a socket's messages, that one API process has received and not answered yet."""

    start_patience_seconds: float = Field(default=20.0, gt=0)
    """How long a request waits for a Temporal that is away before it is told so."""

    log_messages: bool = False
    """Log what exceptions say as well. It may quote requests, answers and tools."""

    slow_client_seconds: float = Field(default=60.0, gt=0)
    """A reader of a stream that takes nothing for so long is dropped; its response goes on."""

    erase_after_seconds: float = Field(default=150.0, gt=0)
    """How long a response that is not to be stored is kept for a reader that fell silent. Must exceed the one above."""

    rewrite_redis_log: bool = False
    """After something was erased, have Redis write its append-only file anew: for a Redis of our own."""

    max_turn_bytes: int = Field(default=8 * 1024 * 1024, gt=0)
    max_response_bytes: int = Field(default=64 * 1024 * 1024, gt=0)
    max_turn_deltas: int = Field(default=500_000, gt=0)
    max_turn_calls: int = Field(default=128, gt=0)
    max_empty_deltas: int = Field(default=10_000, gt=0)
    """What a provider may send in one model turn and in one response (`activities/sampling/answer_meter.py`). What is
    more is not read: the response ends as incomplete, or, after so many deltas in a row that say nothing, fails."""

    response_ttl_seconds: int = 30 * 24 * 3600
    log_ttl_seconds: int = 3600
    """How long the event log outlives its response; afterwards a replay is rebuilt from the stored trace."""
    retry_window_seconds: float = 120.0
    background_retry_window_seconds: float = _DAY
    max_concurrent_samples: int = 1000
    max_cached_workflows: int = Field(default=1000, ge=0)
    """Responses and conversations whose state one worker keeps in memory between their tasks. A state is as large as
    the request and the output together; one that is not kept is built again from its history."""

    max_cached_state_bytes: int = Field(default=512 * 1024 * 1024, gt=0)
    """What all states that one worker keeps may take in memory, by an estimate. Beyond it, those that waited for
    longest are not kept, however few they are."""

    lease_seconds: float = 0.8
    keepalive_seconds: float = 15.0
    socket_seconds: float = Field(default=3600.0, gt=0)
    """How long a WebSocket lives at most (WS-8)."""
    socket_send_seconds: float = Field(default=30.0, gt=0)
    """A WebSocket whose client reads nothing for so long is dropped."""

    @property
    def origins(self) -> list[str]:
        return [origin.strip() for origin in self.cors_origins.split(",") if origin.strip()]

    @property
    def blobs(self) -> Path:
        """`OPEN_RESPONSES_BLOB_DIR`, or a folder in the data folder."""
        return Path(self.blob_dir) if self.blob_dir else Path(self.data_dir) / "blobs"

    @cached_property
    def config(self) -> Config:
        """The TOML file, with the local model's route and the built-in ones behind its own. Raises ConfigError."""
        config = load_config(self.config_path)
        if self.local_model_url is not None and not config.providers:
            local = ProviderConfig(name="local", adapter="openai-chat", base_url=self.local_model_url)
            route = RouteConfig(model=LOCAL_MODEL, provider="local", context_window=2048)
            config = config.model_copy(update={"providers": (local,), "routes": (*config.routes, route)})
        try:
            return config.with_built_ins()
        except ValueError as error:
            raise ConfigError(f"{self.config_path}: {error}") from None


def load_settings() -> Settings:
    """The environment's settings. Raises ConfigError, in one line."""
    try:
        settings = Settings()
    except ValidationError as error:
        raise ConfigError(f"environment: {_first(error)}") from None
    _ = settings.config
    return settings


def load_config(path: str) -> Config:
    """The configuration file; an empty configuration when the default one is not there. Raises ConfigError."""
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


def _first(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
    reason = (
        "unknown key: correct or remove it"
        if problem["type"] == "extra_forbidden"
        else problem["msg"].removeprefix("Value error, ")
    )
    return f"{where}: {reason}" if where else reason
