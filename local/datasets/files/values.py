"""Values of a data set's JSON, whatever they are."""

import json
from typing import TypeGuard

MAX_SIDE = 1_000_000
"""A side or a coordinate above it is not one of a photo."""
_SHOWN = 60


def is_pixels(value: object) -> TypeGuard[float]:
    """Whether a value is a number, finite and not too large for a photo."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_SIDE


def preview(value: object) -> str:
    """A value as a message shows it: the beginning of its JSON."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "lists in lists"
    text = text.encode(errors="backslashreplace").decode()  # halves of characters cannot be printed
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
