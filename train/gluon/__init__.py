"""What the MXNet algorithms share: a step and its state, the model folder, the ONNX graph, optimizers, ResNets."""
