"""From the bytes of an image to what the model says of it: loading, reading, ONNX Runtime."""
