"""The commands of `python3 -m local`, one module each: `add_arguments` declares the options, `run` runs the command."""
