"""Lists: .lst files of im2rec and SageMaker's built-in algorithms, in the folder itself or one below.

    train.lst, val.lst      index<TAB>class id<TAB>path
                            index<TAB>a 0 or 1 for each class<TAB>path
                            index<TAB>2<TAB>5<TAB>class id, xmin, ymin, xmax, ymax of each object<TAB>path
    classes.txt             the class names, one per line, next to a list or in the folder itself

A header, the index that pandas adds, a missing index, backslashes, spaces instead of tabs and UTF-16 are also accepted.
EXIF: boxes in fractions refer to the stored photo, boxes in pixels refer to the stored or
the upright photo, whichever has the size in the header.
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
_FIX = "remove one of the two lines"


def recognise(root: Path) -> str | None:
    """Return the evidence that `root` holds a list of photos, or None."""
    paths = list_nearby(root, SUFFIX)
    for path in dict.fromkeys([*(path for path, _ in split_files(paths, root, "", {})), *paths]):
        if any(is_photo(line.text) for line in lines.parse(texts.first_lines(path), path.name, head=True)):
            return f"{path.relative_to(root).as_posix()} lists photos"
    return None


def classification(root: Path) -> DataSet[Labels]:
    """Read the lists in `root` or one folder below: a class id for each photo, or a 0 or 1 for each class.

    Raise UserError naming the file, the line and the fix.
    """
    notes: Notes = {}
    located = _located(root, lines.class_values, notes)
    first = located[0][0]
    width = len(first.target)
    for line, _ in located:
        if len(line.target) != width:
            raise UserError(
                f"{line.where} has {len(line.target)} labels and {first.where} has {width}: use the same number in "
                "all lines"
            )
    if width > 1:
        ids = [tuple(label for label, value in enumerate(line.target) if value) for line, _ in located]
        names = _names(root, ids, notes, columns=width)
    else:
        ids = [(_class_id(line.target[0], line.where),) for line, _ in located]
        names = _names(root, ids, notes, folders=[photo.parent.name for _, photo in located])
    labels = [tuple(names[kind] for kind in photo_ids) for photo_ids in ids]
    photos = [(photo, line.part, target, target) for (line, photo), target in zip(located, labels, strict=True)]
    return DataSet(
        root, make_entries(photos, in_folders=width == 1), tuple(names.values()), notes, multi_label=width > 1
    )


def detection(root: Path) -> DataSet[Annotation]:
    """Read packed boxes from the lists in `root` or one folder below. Raise UserError naming file, line and fix."""
    notes: Notes = {}
    located = _located(root, lines.packed_boxes, notes)
    ids = [tuple(_class_id(kind, line.where) for kind, _ in line.target.objects) for line, _ in located]
    names = _names(root, ids, notes)
    photos = []
    for photo_ids, (line, photo) in zip(ids, located, strict=True):
        boxes = [box for _, box in line.target.objects]
        objects = tuple(LabelledBox(names[kind], box) for kind, box in zip(photo_ids, boxes, strict=True))
        target = Annotation(line.where, objects, line.target.size or FRACTIONS)
        photos.append((photo, line.part, target, target.classes))
    return DataSet(root, make_entries(photos), tuple(names.values()), notes)


def _located(root: Path, read: Reader[Target], notes: Notes) -> list[tuple[Line[Target], Path]]:
    """Return the lines of all lists, except test lists, with their photos. `read` parses the numbers in a line."""
    photos = path_suffixes.photos(root)
    located: list[tuple[Line[Target], Path]] = []
    paths_of: dict[Path, list[str]] = {}
    used = split_files(list_nearby(root, SUFFIX), root, "lists", notes)
    for path, part in used:
        source = path.relative_to(root).as_posix()
        if listed := lines.parse(texts.read_text(path, source), source, part):
            paths_of[path] = [line.text for line in listed]
            located += locate(photos, read(listed, source, notes), path, notes)
    if not located:
        names = ", ".join(path.name for path, _ in used)
        empty = f", because {names} {'has' if len(used) == 1 else 'have'} no lines" if used else ""
        raise UserError(
            f"{root} has no .lst file of training photos{empty}: put one there, or one folder below, with lines of "
            "index<TAB>label<TAB>path"
        )
    note_unlisted(photos, paths_of, notes)
    return deduplicate(located, notes, _FIX)


def _class_id(value: float, where: str) -> int:
    if value < 0 or not value.is_integer():
        raise UserError(f"{where} has the class {value:g}: classes are whole numbers from 0")
    return int(value)


def _names(
    root: Path, ids: Sequence[Sequence[int]], notes: Notes, *, columns: int | None = None, folders: Sequence[str] = ()
) -> dict[int, str]:
    """Return the names of the used class ids, in the order of their labels. Note ids that differ from their label.

    The names are in classes.txt. Without it, they are the `folders` of the photos if each class has exactly one folder,
    else the ids. `columns` is the number of classes in a list with a column per class.
    """
    used = sorted({kind for photo_ids in ids for kind in photo_ids})
    pairs = {(photo_ids[0], folder) for photo_ids, folder in zip(ids, folders, strict=bool(folders))}
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
    """Return classes.txt in `root`, else next to the first list that has one."""
    folders = [root, *(path.parent for path in list_nearby(root, SUFFIX))]
    return next((folder / CLASSES for folder in folders if (folder / CLASSES).is_file()), None)


def _read_names(path: Path, source: str, used: Sequence[int], columns: int | None) -> dict[int, str]:
    """Return the names by class id.

    Ids start at 0, or at 1 if no photo has the id 0 and the highest id is the number of names.
    """
    listed = texts.class_names(path, source)
    if len(set(listed)) < len(listed):
        duplicate = next(name for name in listed if listed.count(name) > 1)
        raise UserError(f"{source} has {duplicate!r} twice: write one name per line, in the order of the class ids")
    highest = max(used, default=0)
    start = int(highest == len(listed) and 0 not in used and columns is None)
    if highest - start >= len(listed) or columns not in (None, len(listed)):
        classes = f"class id {highest}" if columns is None else plural(columns, "class column")
        raise UserError(
            f"{source} names {plural(len(listed), 'class')} and the lists have {classes}: name all classes, one per "
            "line"
        )
    return dict(enumerate(listed, start=start))
