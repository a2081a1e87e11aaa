"""The commands of `python3 -m local`, one module each: `add_arguments` declares its options, `run` does it."""
