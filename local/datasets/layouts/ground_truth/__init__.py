"""Reader of manifests of SageMaker Ground Truth."""
