"""One turn of the model: taken over, asked for, checked, written to the log."""
