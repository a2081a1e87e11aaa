"""What the classifiers of both frameworks share."""
