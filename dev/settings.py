"""The ports and folders of `make dev`, each with its environment variable."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class DevSettings(BaseSettings):
    """`OPEN_RESPONSES_*`."""

    model_config = SettingsConfigDict(env_prefix="OPEN_RESPONSES_", extra="ignore")

    api_port: int = Field(default=8080, ge=1, le=65535)
    temporal_port: int = Field(default=7233, ge=1, le=65535)
    temporal_ui_port: int = Field(default=8233, ge=1, le=65535)
    valkey_port: int = Field(default=6380, ge=1, le=65535)
    llama_port: int = Field(default=8081, ge=1, le=65535)
    worker_metrics_port: int = Field(default=9464, ge=1, le=65535)
    data_dir: Path = Path(".data")
    workers: int = Field(default=1, ge=1, le=64)
    standby: bool = True
    """One worker process more, which stands by for one that dies."""
    config_path: str = Field(default="open_responses.toml", validation_alias="OPEN_RESPONSES_CONFIG")
