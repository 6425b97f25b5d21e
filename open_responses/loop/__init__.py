"""The data that crosses Temporal, and the pure decision after each model turn."""
