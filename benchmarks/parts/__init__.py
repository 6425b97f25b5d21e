"""The parts of `python -m benchmarks` beside the table: one claim each, against a direct call in the same run."""
