"""Reader of tables of photos and labels."""
