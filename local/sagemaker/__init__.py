"""SageMaker on this machine: local mode with the SDK and Docker, or the images' programs without either."""
