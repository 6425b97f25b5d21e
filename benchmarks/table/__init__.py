"""`make bench`: open_responses beside LiteLLM's proxy and a direct client, in one run against one upstream."""
