"""The objects that a client sends and receives, and the bounds on their size."""
