"""The training code: one package per algorithm, and the packages that they share."""
