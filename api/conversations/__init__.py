"""`/v1/conversations`, and the conversation that a response continues."""
