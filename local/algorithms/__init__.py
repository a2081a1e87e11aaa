"""What each algorithm makes of the data set: channels, the demo's hyperparameters, and how its answers are judged."""
