"""The least that a durable, streamed response can cost in these parts: two bare processes, and a bare workflow.

`python -m benchmarks floor` measures them beside the product, on the same Temporal, Valkey and provider.
"""
