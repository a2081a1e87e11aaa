"""The program `gpu-check`: whether this image's algorithms learn on GPUs what they learn on the CPU."""
