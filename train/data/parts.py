"""Recognise the parts of a data set by the names of files and folders: train, Valid, test_set."""

import re

TRAIN, VALIDATION, TEST = "train", "validation", "test"
WORDS = {
    **dict.fromkeys(("train", "training", "trn"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev"), VALIDATION),
    **dict.fromkeys(("test", "testing", "holdout"), TEST),
}
"""The part that each word stands for, in lower case. TEST is held back from both training and validation."""
TEST_PHOTOS = "photos of a test part, left out"


def parts_in(name: str) -> set[str]:
    """Return the parts that the words of a name stand for. A word ends at a non-letter, or before a capital."""
    words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    parts = {WORDS[word] for word in words if word in WORDS}
    # COCO's test-dev is a test set.
    return parts - {VALIDATION} if TEST in parts and "dev" in words else parts


def part_of(name: str) -> str:
    """Return TRAIN, VALIDATION or TEST if `name` has words for exactly one of them, as in train_labels; else ""."""
    parts = parts_in(name)
    return parts.pop() if len(parts) == 1 else ""
