"""Finds, converts and serves a user's TensorFlow model with TensorFlow Serving's REST API."""
