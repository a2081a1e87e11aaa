"""What the MXNet algorithms share: devices, a step and its state, the model folder, ONNX, optimizers, ResNets."""
