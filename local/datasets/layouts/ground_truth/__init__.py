"""Manifests of SageMaker Ground Truth."""
