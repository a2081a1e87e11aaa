"""What a person runs on a laptop: the data, the demo, SageMaker local mode. Start with `python -m local --help`."""
