"""Admission of requests: scopes and limits of keys, overload, open streams, reads, and received bytes."""
