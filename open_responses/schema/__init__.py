"""What a client sends and receives, and how much of it is accepted."""
