"""What `serve` runs: the HTTP server, and the artifact and preprocessing that `train` shares with it."""

__version__ = "0.1.0"
