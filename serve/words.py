"""The small words of messages: numbers with their nouns, and the line of an error that says what is wrong."""

_HISSING = ("s", "x", "ch", "sh")


def plural(count: int, noun: str) -> str:
    """A number with its noun in the singular or plural: 1 image, 2 images, 2 classes."""
    if count == 1:
        return f"1 {noun}"
    hisses = noun.endswith(_HISSING) and not noun.endswith("epoch")
    return f"{count} {noun}{'es' if hisses else 's'}"


def sentence(text: str) -> str:
    """The line of an error's text that says what is wrong, most often its first; "" for an empty text.

    Where the first only announces it by a colon, the line that does is added: the next one, or of a TensorFlow error
    ("Graph execution error:") the one after the traces, before the place in the graph.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) < 2 or not lines[0].endswith(":"):
        return lines[0] if lines else ""
    places = [number for number, line in enumerate(lines) if line.startswith("[[")]
    at = places[0] - 1 if places else 1
    return f"{lines[0]} {lines[at]}" if at else lines[0]
