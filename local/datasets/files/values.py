"""Check and show values of parsed JSON."""

import json
from typing import TypeGuard

MAX_SIDE = 1_000_000
"""The largest plausible side or coordinate of a photo."""
_PREVIEW_LENGTH = 60


def is_pixels(value: object) -> TypeGuard[float]:
    """Return whether a value is a finite number that is not too large for a photo."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_SIDE


def preview(value: object) -> str:
    """Return the start of a value's JSON for a message."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "deeply nested lists"
    text = text.encode(errors="backslashreplace").decode()  # lone surrogates cannot be printed
    return text if len(text) <= _PREVIEW_LENGTH else f"{text[:_PREVIEW_LENGTH]}..."
