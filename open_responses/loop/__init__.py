"""The payloads in Temporal, the pure decision after each model turn, and the record of the output."""
