"""A provider and a client that cost little CPU: two cores carry them beside the servers that are measured."""
