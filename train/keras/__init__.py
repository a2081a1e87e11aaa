"""Code shared by the Keras algorithms: data, network, training step, evaluation, model folder, devices, hosts."""
