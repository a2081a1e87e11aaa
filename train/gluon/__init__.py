"""Code shared by the MXNet algorithms: devices, training step, model folder, ONNX export, optimizers, ResNets."""
