"""The Redis client, the names of its keys, and the small state in it: leases, limits, breakers, counters."""
