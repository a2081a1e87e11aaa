"""Checks the channels of a training job: finds problems, and writes dataset.html and dataset.png."""
