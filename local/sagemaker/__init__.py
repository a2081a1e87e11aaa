"""SageMaker on this machine: local mode with its SDK and Docker, and the programs of the images without either."""
