"""The `[files]` table of the configuration file: what `/v1/files` accepts and keeps."""

from __future__ import annotations

from pydantic import Field

from open_responses.config_tables.table import Table

_MIB = 1024 * 1024


class FilesConfig(Table):
    """The `[files]` table.

    Attributes:
        max_file_bytes: The largest file that can be uploaded.
        max_tenant_bytes: The bytes that all files of a tenant have together.
        max_tenant_files: The most files of a tenant.
        max_inline_bytes: The most bytes that the files of a request have together which `input_file` and `input_image`
            name by `file_id`. The worker sends them to the provider inside of each model call.
    """

    max_file_bytes: int = Field(default=512 * _MIB, gt=0)
    max_tenant_bytes: int = Field(default=10 * 1024 * _MIB, gt=0)
    max_tenant_files: int = Field(default=10_000, gt=0)
    max_inline_bytes: int = Field(default=24 * _MIB, gt=0)
