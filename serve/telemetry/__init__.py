"""Traces of requests, the metrics, and the request log."""
