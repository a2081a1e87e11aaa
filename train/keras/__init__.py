"""What the Keras algorithms share: hosts, features, a step, an evaluation, batches, the model folder."""
