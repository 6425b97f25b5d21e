"""Who may come in, and how many: limits, overload, open streams, reads."""
