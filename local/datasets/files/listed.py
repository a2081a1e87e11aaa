"""Photos that files list, line by line, by their paths."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Generic

from local.datasets.dataset import Target
from local.datasets.files.parts import of_path
from local.datasets.files.path_suffixes import Files
from local.datasets.notes import MISSING, TEST_PHOTOS, TWICE, UNLISTED, Notes
from local.errors import UserError
from train.data.parts import TEST


@dataclass(frozen=True)
class Line(Generic[Target]):
    """A photo as a file lists it: the place of the line in words, the path, what is known of the photo, its part."""

    where: str
    text: str
    target: Target
    part: str = ""


def locate(files: Files, lines: Sequence[Line[Target]], path: Path, notes: Notes) -> list[tuple[Line[Target], Path]]:
    """Return the lines of the file `path` whose photos are there, with the photos; `notes` gets the others.

    Raises UserError naming the file when most of its photos are not there.
    """
    found = files.find([line.text for line in lines], path.parent, [line.part for line in lines])
    located = [(line, one.path) for line, one in zip(lines, found, strict=True) if one.path is not None]
    others = [(line, one) for line, one in zip(lines, found, strict=True) if one.path is None]
    if len(others) > len(located):
        line, one = others[0]
        what = "is not" if one.why == MISSING else "is the name of several photos"
        raise UserError(
            f"{line.where} names {line.text[:120]!r}, which {what} below {files.root}, as with {len(others)} of the "
            f"{len(lines)} photos listed: give the folder that holds the photos and the list; what counts is how paths "
            "end, such as cat/1.jpg"
        )
    for _, one in others:
        notes.setdefault(one.why, []).append(one.words)
    return located


def note_unlisted(photos: Files, texts: Mapping[Path, Sequence[str]], notes: Notes) -> None:
    """Note the photos that no list names; `texts` are the paths in each list, whatever is wrong with their lines."""
    found = [one for path, those in texts.items() for one in photos.find(those, path.parent)]
    named = {one.path for one in found}.union(*(one.candidates for one in found))
    for name in photos.names:
        if photos.root / name not in named:
            is_test = of_path(PurePath(name).parent) == TEST
            notes.setdefault(TEST_PHOTOS if is_test else UNLISTED, []).append(name)


def deduplicate(
    located: Sequence[tuple[Line[Target], Path]], notes: Notes, fix: str
) -> list[tuple[Line[Target], Path]]:
    """Return every photo once; `notes` gets those that are listed again.

    Raises UserError naming both lines when they differ in what is known of it, with the `fix` in words, or in its part.
    """
    first: dict[Path, Line[Target]] = {}
    for line, photo in located:
        other = first.setdefault(photo, line)
        if other is line:
            continue
        if other.target != line.target:
            raise UserError(f"{line.where} lists {photo.name} again, and not as in {other.where}: {fix}")
        if other.part != line.part:
            raise UserError(
                f"{line.where} lists {photo.name}, which is in another part in {other.where}: remove it from one of "
                "them, or the accuracy is measured on photos that were trained on"
            )
        notes.setdefault(TWICE, []).append(photo.name)
    return [(line, photo) for photo, line in first.items()]
