"""The grammar of a stream: deltas to events, events to the response, and the compact trace that rebuilds both."""
