"""What several adapters need: HTTP, failures, keys, and pieces of wire formats that vendors have in common."""
