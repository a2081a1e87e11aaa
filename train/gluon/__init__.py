"""What the MXNet algorithms share: optimizers, ResNets."""
