"""Reader of YOLO's text files."""
