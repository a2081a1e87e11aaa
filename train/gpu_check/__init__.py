"""The program `gpu-check`: checks that this image's algorithms train on GPUs as they do on the CPU."""
