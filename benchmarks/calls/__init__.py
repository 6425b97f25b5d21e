"""What one delta costs in function calls, which every run counts alike."""
