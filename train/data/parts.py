"""The parts of a data set by the names that people give to files and folders: train, Valid, test_set."""

import re

TRAIN, VALIDATION, TEST = "train", "validation", "test"
WORDS = {
    **dict.fromkeys(("train", "training", "trn"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev"), VALIDATION),
    **dict.fromkeys(("test", "testing", "holdout"), TEST),
}
"""The part that each word means, in lower case. A user holds TEST back: neither to train on nor to validate on."""
TEST_PHOTOS = "photos of a test part, left out"


def parts_in(name: str) -> set[str]:
    """Return the parts of which a word is in a name: words end at what is not a letter, and at Case."""
    words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    found = {WORDS[word] for word in words if word in WORDS}
    # COCO's test-dev is a test set.
    return found - {VALIDATION} if TEST in found and "dev" in words else found


def part_of(name: str) -> str:
    """Return TRAIN, VALIDATION or TEST when exactly one of them is a word of `name`, as in train_labels; else ""."""
    found = parts_in(name)
    return found.pop() if len(found) == 1 else ""
