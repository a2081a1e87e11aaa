"""Finds and converts a user's TensorFlow model, and serves it with TensorFlow Serving's REST API."""
