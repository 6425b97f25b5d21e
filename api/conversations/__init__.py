"""`/v1/conversations`, and the conversation that a request names."""
