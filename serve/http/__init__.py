"""From a request to its response: Flask, gunicorn, admission, and errors with their status."""
