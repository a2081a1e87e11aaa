"""What `train` runs: one package per algorithm, and what they share, by subject."""
