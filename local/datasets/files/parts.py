"""The parts of a data set by the names that people give to files, folders and cells: train.csv, Valid/, "TEST"."""

from collections.abc import Sequence
from pathlib import Path, PurePath

from local.datasets.notes import Notes
from train.data.parts import TEST, TRAIN, VALIDATION, WORDS, parts_in


def of_path(path: PurePath) -> str:
    """Return the part by the deepest name in a relative path that has a word of one, "" without one.

    A name with words of two parts, such as train_val, counts for neither.
    """
    found = next(filter(None, map(parts_in, reversed(path.parts))), set())
    return found.pop() if len(found) == 1 else ""


def from_word(text: str) -> str:
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
