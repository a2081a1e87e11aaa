"""The environment of a training job: hosts, devices, signals, threads, configuration, checkpoints and scripts."""
