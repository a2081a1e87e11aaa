"""What `train` runs: one room per algorithm, beside the words that all of them share."""
