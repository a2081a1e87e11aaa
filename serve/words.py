"""Helpers for messages: counts with their nouns, and the line of an error that says what is wrong."""

_ES_ENDINGS = ("s", "x", "ch", "sh")


def plural(count: int, noun: str) -> str:
    """Return a count with its noun in the singular or plural: 1 image, 2 images, 2 classes."""
    if count == 1:
        return f"1 {noun}"
    takes_es = noun.endswith(_ES_ENDINGS) and not noun.endswith("epoch")
    return f"{count} {noun}{'es' if takes_es else 's'}"


def sentence(text: str) -> str:
    """Return the line of an error's text that says what is wrong, usually the first; "" for an empty text.

    If the first line ends with a colon, the line that it announces is appended: the next line, or in a TensorFlow error
    ("Graph execution error:") the line after the tracebacks, just before the position in the graph.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) < 2 or not lines[0].endswith(":"):
        return lines[0] if lines else ""
    places = [number for number, line in enumerate(lines) if line.startswith("[[")]
    at = places[0] - 1 if places else 1
    return f"{lines[0]} {lines[at]}" if at else lines[0]
