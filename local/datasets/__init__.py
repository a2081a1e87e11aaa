"""Data sets: read them in several layouts, draw or download one, and write channels from them."""
