"""The parts of a data set by the names that people give to files, folders and cells: train.csv, Valid/, "TEST"."""

import re

from local.datasets.dataset import TRAIN, VALIDATION

TEST = "test"
_WORDS = {
    **dict.fromkeys(("train", "training", "trn"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev"), VALIDATION),
    **dict.fromkeys(("test", "testing", "holdout"), TEST),
}


def part_of(name: str) -> str:
    """Return TRAIN, VALIDATION or TEST when exactly one of them is a word of `name`, as in train_labels; else ""."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    found = {_WORDS[word] for word in words if word in _WORDS}
    return found.pop() if len(found) == 1 else ""


def exactly(text: str) -> str:
    """Return TRAIN, VALIDATION or TEST when `text` is one of its words and nothing else; else ""."""
    return _WORDS.get(text.strip().lower(), "")
