"""Command-line tools for a laptop: data sets, the demo, SageMaker local mode. See `python3 -m local --help`."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The root of the repository."""
ENVIRONMENTS = ROOT / ".venvs"
"""The folder where `make envs` creates the environments."""
