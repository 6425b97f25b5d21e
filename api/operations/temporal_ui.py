"""Links into Temporal's UI."""

from __future__ import annotations

from urllib.parse import quote

from open_responses.io.settings import Settings


def run_url(settings: Settings, namespace: str, workflow_id: str, run_id: str) -> str:
    """The page of a run, by `OPEN_RESPONSES_TEMPORAL_UI_URL`."""
    parts = (quote(part, safe="") for part in (namespace, workflow_id, run_id))
    path = "/namespaces/{}/workflows/{}/{}/history".format(*parts)
    return settings.temporal_ui_url.rstrip("/") + path
