"""`/v1/containers`."""
