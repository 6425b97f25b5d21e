"""Bounds on the time and memory that one connection may take of this process."""
