"""Reader of .lst files."""
