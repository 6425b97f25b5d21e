"""The API's process. `python -m api` serves it; `uvicorn api.main:app` does, without bounds on connections."""

from __future__ import annotations

import sys

import workflows
from api.application import create_asgi
from open_responses.io.settings import ConfigError, load_settings

if not hasattr(workflows, "OURS"):
    sys.exit(f"imported another package 'workflows', {workflows.__file__}: start this program from the project's root")
try:
    app = create_asgi(load_settings())
except ConfigError as error:
    sys.exit(f"api: {error}")
