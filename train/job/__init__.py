"""The job around the training: its hosts, devices, signals, threads, configuration, the user's own script, an earlier model."""
