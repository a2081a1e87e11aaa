"""What the MXNet algorithms share: devices, steps with their state, the model folder, ONNX, optimizers, ResNets."""
