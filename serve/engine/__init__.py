"""From a request's body to what the model says of it: loading, reading, ONNX Runtime."""
