"""Tries the clauses of the specification against a server."""
