"""Registries of images: any that the Docker engine can reach, and Amazon ECR."""
