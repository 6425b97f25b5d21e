"""Metrics of this process, in Prometheus' format.

`definitions.py` has each metric, `recording.py` the functions that the code calls. No function here waits, and no
metric has content of users. The number of time series is bounded (`families.py`, `label_values.py`).
"""
