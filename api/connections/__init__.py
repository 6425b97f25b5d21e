"""What one connection may take of this process: time, and memory."""
