"""Metrics of this process, in Prometheus' format.

`definitions.py` has each metric, `recording.py` the functions that the code calls. Nothing here waits, and nothing
holds what users said. The number of time series is bounded (`families.py`, `label_values.py`).
"""
