"""The HTTP server that `serve` runs, and the artifact format and preprocessing that it shares with `train`."""

__version__ = "0.1.0"
