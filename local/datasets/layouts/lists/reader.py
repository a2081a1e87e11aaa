"""Lists: .lst files as im2rec and SageMaker's built-in algorithms have them, in the folder itself or one below.

    train.lst, val.lst      index<TAB>class id<TAB>path
                            index<TAB>a 0 or 1 for each class<TAB>path
                            index<TAB>2<TAB>5<TAB>class id, xmin, ymin, xmax, ymax of each object<TAB>path
    classes.txt             the names of the classes, one a line, beside a list or in the folder itself

Read as well: a header, the index that pandas adds, no index, backslashes, spaces in place of tabs, UTF-16. EXIF: boxes
in fractions are of the stored photo, boxes in pixels of the one that has the size in the header.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from local.datasets.dataset import FRACTIONS, Annotation, DataSet, LabelledBox, Labels, Target, make_entries
from local.datasets.files import path_suffixes, texts
from local.datasets.files.listed import Line, deduplicate, locate, note_unlisted
from local.datasets.files.parts import split_files
from local.datasets.files.walk import is_photo, list_nearby
from local.datasets.layouts.lists import lines
from local.datasets.layouts.lists.lines import Listed
from local.datasets.notes import RENUMBERED, UNUSED_CLASSES, Notes
from local.errors import UserError
from serve.words import plural

SUFFIX = (".lst",)
CLASSES = "classes.txt"
Reader = Callable[[Sequence[Listed], str, Notes], list[Line[Target]]]
_FIX = "remove one of the two"


def recognise(root: Path) -> str | None:
    """Return how one sees that `root` holds a list of photos, None if it does not."""
    paths = list_nearby(root, SUFFIX)
    for path in dict.fromkeys([*(path for path, _ in split_files(paths, root, "", {})), *paths]):
        if any(is_photo(line.text) for line in lines.parse(texts.first_lines(path), path.name, head=True)):
            return f"{path.relative_to(root).as_posix()} lists photos"
    return None


def classification(root: Path) -> DataSet[Labels]:
    """Read the lists in `root` or one folder below: a class id for each photo, or a 0 or 1 for each class.

    Raises UserError naming the file, the line and the fix.
    """
    notes: Notes = {}
    located = _located(root, lines.class_values, notes)
    first = located[0][0]
    width = len(first.target)
    for line, _ in located:
        if len(line.target) != width:
            raise UserError(f"{line.where} has {len(line.target)} labels and {first.where} {width}: give all as many")
    if width > 1:
        ids = [tuple(label for label, value in enumerate(line.target) if value) for line, _ in located]
        names = _names(root, ids, notes, columns=width)
    else:
        ids = [(_class_id(line.target[0], line.where),) for line, _ in located]
        names = _names(root, ids, notes, folders=[photo.parent.name for _, photo in located])
    labels = [tuple(names[label] for label in some) for some in ids]
    photos = [(photo, line.part, some, some) for (line, photo), some in zip(located, labels, strict=True)]
    return DataSet(
        root, make_entries(photos, in_folders=width == 1), tuple(names.values()), notes, multi_label=width > 1
    )


def detection(root: Path) -> DataSet[Annotation]:
    """Read the lists in `root` or one folder below: packed boxes. Raises UserError naming file, line and fix."""
    notes: Notes = {}
    located = _located(root, lines.packed, notes)
    ids = [tuple(_class_id(kind, line.where) for kind, _ in line.target.objects) for line, _ in located]
    names = _names(root, ids, notes)
    found = []
    for some, (line, photo) in zip(ids, located, strict=True):
        boxes = [box for _, box in line.target.objects]
        things = tuple(LabelledBox(names[kind], box) for kind, box in zip(some, boxes, strict=True))
        known = Annotation(line.where, things, line.target.size or FRACTIONS)
        found.append((photo, line.part, known, known.classes))
    return DataSet(root, make_entries(found), tuple(names.values()), notes)


def _located(root: Path, read: Reader[Target], notes: Notes) -> list[tuple[Line[Target], Path]]:
    """The photos of all lists but those of a test part, with what `read` makes of their numbers."""
    photos = path_suffixes.photos(root)
    located: list[tuple[Line[Target], Path]] = []
    named: dict[Path, list[str]] = {}
    used = split_files(list_nearby(root, SUFFIX), root, "lists", notes)
    for path, part in used:
        source = path.relative_to(root).as_posix()
        if listed := lines.parse(texts.read_text(path, source), source, part):
            named[path] = [line.text for line in listed]
            located += locate(photos, read(listed, source, notes), path, notes)
    if not located:
        only = f", only {', '.join(path.name for path, _ in used)} without a line" if used else ""
        raise UserError(
            f"{root} has no .lst file of photos to train on{only}: put one there, or one folder below, with lines of "
            "index<TAB>label<TAB>path"
        )
    note_unlisted(photos, named, notes)
    return deduplicate(located, notes, _FIX)


def _class_id(value: float, where: str) -> int:
    if value < 0 or not value.is_integer():
        raise UserError(f"{where} has the class {value:g}: classes are whole numbers from 0")
    return int(value)


def _names(
    root: Path, ids: Sequence[Sequence[int]], notes: Notes, *, columns: int | None = None, folders: Sequence[str] = ()
) -> dict[int, str]:
    """The names of the class ids that photos have, in the order of the labels that they get.

    They are from classes.txt; without it, of one class a photo, from the `folders` of the photos, where these are one
    to one; else the numbers. `columns` counts the classes, where the list does. `notes` gets what changes its number.
    """
    used = sorted({kind for some in ids for kind in some})
    pairs = {(some[0], folder) for some, folder in zip(ids, folders, strict=bool(folders))}
    if (path := _classes_file(root)) is not None:
        names = _read_names(path, path.relative_to(root).as_posix(), used, columns)
        notes[UNUSED_CLASSES] = [name for kind, name in names.items() if kind not in used]
    elif len(pairs) == len(used) == len({folder for _, folder in pairs}) > 1:
        names = dict(pairs)
    else:
        names = {kind: str(kind) for kind in used}
    notes[RENUMBERED] = [f"{kind} is now {label}" for label, kind in enumerate(used) if kind != label]
    return {kind: names[kind] for kind in used}


def _classes_file(root: Path) -> Path | None:
    """The classes.txt in `root`, or else beside the first list that has one."""
    folders = [root, *(path.parent for path in list_nearby(root, SUFFIX))]
    return next((folder / CLASSES for folder in folders if (folder / CLASSES).is_file()), None)


def _read_names(path: Path, source: str, used: Sequence[int], columns: int | None) -> dict[int, str]:
    """The names by class id, from 0, or from 1 where no photo is of 0 and the last line has no other number."""
    found = texts.class_names(path, source)
    if len(set(found)) < len(found):
        twice = next(name for name in found if found.count(name) > 1)
        raise UserError(f"{source} has {twice!r} twice: write a name for each class, one a line, by class id")
    most = max(used, default=0)
    start = int(most == len(found) and 0 not in used and columns is None)
    if most - start >= len(found) or columns not in (None, len(found)):
        what = f"class id {most}" if columns is None else f"{columns} columns of classes"
        raise UserError(f"{source} names {plural(len(found), 'class')} and the lists have {what}: name all, one a line")
    return dict(enumerate(found, start=start))
