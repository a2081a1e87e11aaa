"""Loads models, reads the bodies of requests, and computes predictions with ONNX Runtime."""
