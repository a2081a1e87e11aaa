"""The parts of a data set by the names that people give to files, folders and cells: train.csv, Valid/, "TEST"."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePath

from local.datasets.dataset import TRAIN, VALIDATION
from local.datasets.notes import Notes

TEST = "test"
"""The part that a user holds back: neither to train on nor to validate on."""
WORDS = {
    **dict.fromkeys(("train", "training", "trn"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev"), VALIDATION),
    **dict.fromkeys(("test", "testing", "holdout"), TEST),
}


def of_name(name: str) -> str:
    """Return TRAIN, VALIDATION or TEST when exactly one of them is a word of `name`, as in train_labels; else ""."""
    found = _named(name)
    return found.pop() if len(found) == 1 else ""


def of_path(path: PurePath) -> str:
    """Return the part by the deepest name in a relative path that has a word of one, "" without one.

    A name with words of two parts, such as train_val, counts for neither.
    """
    found = next(filter(None, map(_named, reversed(path.parts))), set())
    return found.pop() if len(found) == 1 else ""


def exactly(text: str) -> str:
    """Return TRAIN, VALIDATION or TEST when `text` is one of its words and nothing else; else ""."""
    return WORDS.get(text.strip().lower(), "")


def split_files(paths: Sequence[Path], root: Path, what: str, notes: Notes) -> list[tuple[Path, str]]:
    """Return the files that list photos, each with its part by its own name, or else by its folders' below `root`.

    Left out, and noted as `what`, are those of a test part, and beside one to train on those without a part; beside one
    to validate on alone they are to train on. Kaggle's sample_submission.csv is of a test part.
    """
    parts = [
        TEST if "submission" in path.stem.lower() else of_path(path.relative_to(root).with_suffix("")) for path in paths
    ]
    used = []
    for path, part in zip(paths, parts, strict=True):
        if part == TEST or (not part and TRAIN in parts):
            of = "of a test part" if part else "of no part beside that to train on"
            notes.setdefault(f"{what} {of}, left out", []).append(path.relative_to(root).as_posix())
        else:
            used.append((path, part or (TRAIN if VALIDATION in parts else "")))
    return used


def _named(name: str) -> set[str]:
    """The parts of which a word is in a name: words end at what is not a letter, and at Case."""
    words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    found = {WORDS[word] for word in words if word in WORDS}
    # COCO's test-dev is a test set.
    return found - {VALIDATION} if TEST in found and "dev" in words else found
