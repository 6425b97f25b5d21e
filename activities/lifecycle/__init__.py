"""Activities at a response's beginning, in between, and at its end: claim approvals, publish events, finish."""
