"""What a person runs on a laptop: the data, the demo, SageMaker local mode. Start with `python3 -m local --help`."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The repository."""
ENVIRONMENTS = ROOT / ".venvs"
"""Where `make envs` puts the environments."""
