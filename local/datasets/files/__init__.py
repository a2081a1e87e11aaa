"""Helpers for all layouts: find files, read them and interpret their names."""
