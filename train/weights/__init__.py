"""Weight files: pretrained ones of several formats and frameworks, and those that a job leaves."""
