"""quantize=int8: a graph of 8-bit integers beside the float one, which serves only where it is shown to be as good.

`closing` is the whole path: `program` writes a graph (`quantizer`, `sensitivity`), the server's code answers, and
`gate` decides.
"""
