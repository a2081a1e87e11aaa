"""The HTTP layer: Flask, gunicorn, admission control, and errors with their status codes."""
