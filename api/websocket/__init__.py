"""`/v1/responses` over a WebSocket (WS-1 to WS-9)."""
