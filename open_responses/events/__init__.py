"""The grammar of a stream: deltas become events, events become the response, and a compact trace rebuilds both."""
