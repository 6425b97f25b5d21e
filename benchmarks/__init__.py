"""Claims of speed, as programs. `make bench` runs them and prints ratios against a direct call in the same run."""
