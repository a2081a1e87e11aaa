"""A synthetic data set of drawn cats and dogs. `draw` creates it; the other modules draw animals and scenes."""
