"""`/v1/responses`: a request planned and begun, and its response followed, fetched, cancelled, approved, compacted."""
