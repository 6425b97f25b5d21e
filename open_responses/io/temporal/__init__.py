"""The Temporal client, the payload codec, encryption, and payloads too large for history."""
