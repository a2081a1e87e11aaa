"""The parts of a data set by the names that people give to files, folders and cells: train.csv, Valid/, "TEST"."""

import re
from collections.abc import Sequence
from pathlib import Path

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


def files_by_part(paths: Sequence[Path], root: Path, what: str, notes: dict[str, list[str]]) -> list[tuple[Path, str]]:
    """Return the files that list photos, each with its part by its own name, or else by its folder's below `root`.

    Left out, and noted as `what`, are those of a test part, and beside one to train on those without a part; beside one
    to validate on alone they are to train on. Kaggle's sample_submission.csv is of the test part.
    """
    parts = [_part_of_file(path, root) for path in paths]
    used = []
    for path, part in zip(paths, parts, strict=True):
        if part == TEST or (not part and TRAIN in parts):
            of = "of the test part" if part else "of no part beside that to train on"
            notes.setdefault(f"{what} {of}, left out", []).append(path.relative_to(root).as_posix())
        else:
            used.append((path, part or (TRAIN if VALIDATION in parts else "")))
    return used


def _part_of_file(path: Path, root: Path) -> str:
    if "submission" in path.stem.lower():
        return TEST
    return part_of(path.stem) or ("" if path.parent == root else part_of(path.parent.name))
