"""The job around the training: hosts, devices, signals, threads, configuration, checkpoints, scripts, an earlier model."""
