"""The built-in tasks: how a graph's outputs become predictions, and the formats of a response."""
