"""Code shared by the classifiers of both frameworks: data, metrics, hyperparameters and log lines."""
