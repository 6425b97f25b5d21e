"""The state machine behind `/v1/conversations`."""
