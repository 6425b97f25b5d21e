"""Which names a model may call, and what a call returned."""
