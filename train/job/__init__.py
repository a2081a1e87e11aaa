"""The job around the training: hosts, devices, signals, threads, settings, checkpoints, scripts, an earlier model."""
