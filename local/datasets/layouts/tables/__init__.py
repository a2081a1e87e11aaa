"""Tables of photos and their labels."""
