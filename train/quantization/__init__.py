"""quantize=int8: write an 8-bit integer graph next to the float graph, and serve it only if it is good enough.

`workflow` runs all steps: `program` writes a graph (with `quantizer` and `sensitivity`), the serving code predicts with
it, and `gate` decides whether to accept it.
"""
