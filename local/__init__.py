"""What a person runs on a laptop: the data, the demo, SageMaker local mode. Start with `python3 -m local --help`."""
