"""The response store: responses by id, from Redis and Temporal; the items of chains and conversations; erasure."""
