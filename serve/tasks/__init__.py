"""The built-in tasks: what a graph answers, and the forms in which a response says it."""
