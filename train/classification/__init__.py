"""What the classifiers of both frameworks share: data, metrics, hyperparameters, log lines."""
