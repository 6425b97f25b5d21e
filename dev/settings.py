"""The ports and folders of `make dev`, each with its environment variable."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class DevSettings(BaseSettings):
    """`OPEN_RESPONSES_*`."""

    model_config = SettingsConfigDict(env_prefix="OPEN_RESPONSES_", extra="ignore")

    api_port: int = Field(default=8080, ge=1, le=65535)
    """The API's port."""

    temporal_port: int = Field(default=7233, ge=1, le=65535)
    """Temporal's port."""

    temporal_ui_port: int = Field(default=8233, ge=1, le=65535)
    """The port of the Temporal UI."""

    valkey_port: int = Field(default=6380, ge=1, le=65535)
    """Valkey's port."""

    llama_port: int = Field(default=8081, ge=1, le=65535)
    """The local model's port."""

    worker_metrics_port: int = Field(default=9464, ge=1, le=65535)
    """The port of the first worker's metrics. Each further worker has the next."""

    data_dir: Path = Path(".data")
    """The folder for the data, logs and process ids of all parts."""

    workers: int = Field(default=1, ge=1, le=64)
    """The number of worker processes that serve."""

    standby: bool = True
    """Whether one worker process more stands by for one that dies. It takes 120 MiB."""

    config_path: str = Field(default="open_responses.toml", validation_alias="OPEN_RESPONSES_CONFIG")
    """The configuration file. If it has providers, the local model is not started."""
