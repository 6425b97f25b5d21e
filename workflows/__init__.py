"""The workflows. Other distributions install a top-level `workflows` too; `worker.py` checks that this one is ours."""

OURS = "open-responses"
