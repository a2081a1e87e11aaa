"""Weight files: pretrained weights of several formats and frameworks, and the files that jobs write."""
