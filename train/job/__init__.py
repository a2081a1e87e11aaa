"""The job around the training: hosts, devices, signals, threads, configuration, the user's script, an earlier model."""
