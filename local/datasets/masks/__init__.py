"""Read masks and map their pixels to classes."""
