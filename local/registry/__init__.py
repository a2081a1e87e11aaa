"""Image registries: any that the Docker engine can reach, with additions for Amazon ECR."""
