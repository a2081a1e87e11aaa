"""Photos that are listed by path, one per line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Generic

from local.datasets.dataset import Target
from local.datasets.files.parts import of_path
from local.datasets.files.path_suffixes import Files
from local.datasets.notes import MISSING, TEST_PHOTOS, TWICE, UNLISTED, Notes
from local.errors import UserError
from serve.words import plural
from train.data.parts import TEST


@dataclass(frozen=True)
class Line(Generic[Target]):
    """A line of a list: its place for messages, the path of the photo as written, its target and its part."""

    where: str
    text: str
    target: Target
    part: str = ""


def locate(files: Files, lines: Sequence[Line[Target]], path: Path, notes: Notes) -> list[tuple[Line[Target], Path]]:
    """Return the lines of the list `path` whose photos exist, each with its photo. Note the other lines.

    Raise UserError naming the list if most of its photos are missing.
    """
    matches = files.find([line.text for line in lines], path.parent, [line.part for line in lines])
    located = [(line, match.path) for line, match in zip(lines, matches, strict=True) if match.path is not None]
    missing = [(line, match) for line, match in zip(lines, matches, strict=True) if match.path is None]
    if len(missing) > len(located):
        line, match = missing[0]
        problem = "is not" if match.reason == MISSING else "matches several photos"
        raise UserError(
            f"{line.where} names {line.text[:120]!r}, which {problem} below {files.root}; this affects {len(missing)} "
            f"of {plural(len(lines), 'listed photo')}: give the folder that holds the photos and the list; photos are "
            "matched by the end of their paths, such as cat/1.jpg"
        )
    for _, match in missing:
        notes.setdefault(match.reason, []).append(match.description)
    return located


def note_unlisted(photos: Files, texts: Mapping[Path, Sequence[str]], notes: Notes) -> None:
    """Note photos that no list names. `texts` has all paths of each list, including those on lines with errors."""
    matches = [match for path, listed in texts.items() for match in photos.find(listed, path.parent)]
    named = {match.path for match in matches}.union(*(match.candidates for match in matches))
    for name in photos.names:
        if photos.root / name not in named:
            is_test = of_path(PurePath(name).parent) == TEST
            notes.setdefault(TEST_PHOTOS if is_test else UNLISTED, []).append(name)


def deduplicate(
    located: Sequence[tuple[Line[Target], Path]], notes: Notes, fix: str
) -> list[tuple[Line[Target], Path]]:
    """Return each photo once, and note photos that are listed again.

    Raise UserError naming both lines if they differ in the target or the part of the photo. `fix` says how to resolve
    different targets.
    """
    first: dict[Path, Line[Target]] = {}
    for line, photo in located:
        other = first.setdefault(photo, line)
        if other is line:
            continue
        if other.target != line.target:
            raise UserError(f"{line.where} lists {photo.name} again, differently from {other.where}: {fix}")
        if other.part != line.part:
            raise UserError(
                f"{line.where} lists {photo.name}, which {other.where} puts into another part: remove one of the two "
                "lines, or the accuracy is measured on a training photo"
            )
        notes.setdefault(TWICE, []).append(photo.name)
    return [(line, photo) for photo, line in first.items()]
