"""`make bench-adapters`: CPU of the adapters alone, against LiteLLM's translation of the same streams."""
