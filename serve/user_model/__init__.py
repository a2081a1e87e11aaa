"""What needs TensorFlow to serve a user's own model: the conversion at start, and the engine where that fails.

Runs in the training environment alone; the server imports nothing of it while ONNX Runtime computes.
"""

import os

# TensorFlow's own log quotes what a request holds, unescaped; its exceptions say the same.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
