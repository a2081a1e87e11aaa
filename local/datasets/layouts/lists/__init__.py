"""Lists of im2rec."""
