"""What all layouts share: finding files, reading them, and what their names say."""
