"""Recognise the parts of a data set in the names of files and folders and in cells: train.csv, Valid/, "TEST"."""

from collections.abc import Sequence
from pathlib import Path, PurePath

from local.datasets.notes import Notes
from train.data.parts import TEST, TRAIN, VALIDATION, WORDS, parts_in


def of_path(path: PurePath) -> str:
    """Return the part that the deepest matching name in a relative path contains, or "".

    If that name contains several parts, as train_val does, return "".
    """
    names = next(filter(None, map(parts_in, reversed(path.parts))), set())
    return names.pop() if len(names) == 1 else ""


def from_word(text: str) -> str:
    """Return TRAIN, VALIDATION or TEST if `text` is exactly one of its words, else ""."""
    return WORDS.get(text.strip().lower(), "")


def split_files(paths: Sequence[Path], root: Path, what: str, notes: Notes) -> list[tuple[Path, str]]:
    """Return the lists to use, each with the part that its name contains, else the part of its folders below `root`.

    Leave out and note lists of a test part, and lists without a part if there is a training list. `what` is the kind of
    file, in the plural. If there are only validation lists, a list without a part is a training list. Kaggle's
    sample_submission.csv counts as a test list.
    """
    parts = [
        TEST if "submission" in path.stem.lower() else of_path(path.relative_to(root).with_suffix("")) for path in paths
    ]
    used = []
    for path, part in zip(paths, parts, strict=True):
        if part == TEST or (not part and TRAIN in parts):
            kind = "of a test part" if part else "without a part next to a training list"
            notes.setdefault(f"{what} {kind}, left out", []).append(path.relative_to(root).as_posix())
        else:
            used.append((path, part or (TRAIN if VALIDATION in parts else "")))
    return used
