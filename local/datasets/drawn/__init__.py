"""Drawn cats and dogs: paper and pen, the animals, the places they are in. `draw` makes a data set of them."""
