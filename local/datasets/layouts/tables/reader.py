"""Tables: CSV, TSV or JSON Lines files with a column for photo paths and one or more columns for labels.

    labels.csv               path,label          cat/1.jpg,cat
    train.csv, val.csv       file;tags           1.jpg;cat|dog
    train/_classes.csv       filename, cat, dog  1.jpg, 1, 0

Tables are in the folder itself or one below. The separator and the column of paths are the ones that name the most
existing photos. `columns` finds the labels. Labels apply to the upright photo.
"""

import re
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path

from local.datasets.dataset import TRAIN, VALIDATION, DataSet, Labels, make_entries
from local.datasets.files import path_suffixes
from local.datasets.files.listed import Line, deduplicate, locate, note_unlisted
from local.datasets.files.parts import from_word, split_files
from local.datasets.files.path_suffixes import Files
from local.datasets.files.rows import Cell, Row
from local.datasets.files.walk import list_nearby
from local.datasets.layouts.tables import columns
from local.datasets.layouts.tables.cells import ZERO_ONE, normalize_integers, sort_classes, split_labels
from local.datasets.layouts.tables.table import SUFFIXES, Table, detect_form, find_path_column, read
from local.datasets.notes import TEST_PHOTOS, UNLABELLED, UNUSED_CLASSES, Notes
from local.errors import UserError
from train.data.parts import TEST

_FIX = "remove one of the two lines, or put several labels of a photo into one cell, as in cat|dog"
_PART_NAMES = {"split", "set", "part", "subset", "partition", "dataset", "phase", "usage"}


def recognise(root: Path) -> str | None:
    """Return the evidence that `root` holds a table of photos, or None."""
    paths = list_nearby(root, SUFFIXES)
    photos = path_suffixes.photos(root) if paths else None
    used = [path for path, _ in split_files(paths, root, "", {})]
    for path in dict.fromkeys([*used, *paths]):
        if photos is not None and (form := detect_form(path, photos)):
            return f"{path.relative_to(root).as_posix()} names photos in its {form.description}"
    return None


def overrides_class_folders(root: Path) -> bool | None:
    """Return whether the tables have the classes of photos that are also in class folders, or None if that is unclear.

    They do if a column has a name for labels, if the columns are classes, or if the labels agree with the folders. They
    do not if no column can hold labels, because it has a single value or a different one for each photo.
    """
    result: bool | None = False
    try:
        for table, _ in _tables(root, path_suffixes.photos(root), {}):
            _, others = _part_column(table)
            if any(columns.has_label_word(table.names[number]) for number in others):
                return True
            try:
                labelled = columns.find_labels(table.rows, table.names, others, table.source)
            except UserError:
                continue
            if labelled.classes or all(map(_is_folder, table.rows, labelled.cells, repeat(table.paths))):
                return True
            if columns.is_informative(labelled.cells):
                result = None
    except UserError:
        return None
    return result


def nearest_miss(root: Path) -> str:
    """Describe a table that names photos which do not exist, or return ""."""
    for path in list_nearby(root, SUFFIXES):
        if column := find_path_column(path):
            source = path.relative_to(root).as_posix()
            return f"{source} names photos in its column {column.name}, but {column.first[:120]} is not below {root}"
    return ""


def classification(root: Path) -> DataSet[Labels]:
    """Read one or more labels for each photo from the tables in `root` or one folder below.

    Raise UserError naming the file, the line or the columns, and the fix.
    """
    photos = path_suffixes.photos(root)
    notes: Notes = {}
    located: list[tuple[Line[Cell], Path]] = []
    listed: dict[Path, list[str]] = {}
    plural, classes = False, dict[str, None]()
    for table, part in _tables(root, photos, notes):
        part_column, others = _part_column(table)
        labelled = columns.find_labels(table.rows, table.names, others, table.source)
        plural, classes = plural or labelled.plural, classes | dict.fromkeys(labelled.classes)
        listed[table.path] = [str(row[table.paths]) for row in table.rows]
        lines = []
        for row, cell in zip(table.rows, labelled.cells, strict=True):
            row_part = "" if part_column is None else _part(table.names[part_column], row[part_column])
            line = Line(f"{table.source}, line {row.line}", str(row[table.paths]), cell, row_part or part)
            reason = TEST_PHOTOS if line.part == TEST else UNLABELLED if cell == "" else ""
            if reason:
                notes.setdefault(reason, []).append(line.text)
            else:
                lines.append(line)
        located += locate(photos, lines, table.path, notes)
    note_unlisted(photos, listed, notes)
    if not located:
        raise UserError(f"{root} has no photo with a label in its tables, except in a test part: label some")
    targets = split_labels([line.target for line, _ in located], plural)
    multi_label = any(len(labels) != 1 for labels in targets)
    if not classes:
        targets = normalize_integers(targets)
    lines_of = [
        (Line(line.where, line.text, labels, line.part), photo)
        for (line, photo), labels in zip(located, targets, strict=True)
    ]
    return _data_set(root, deduplicate(lines_of, notes, _FIX), multi_label, tuple(classes), notes)


def _data_set(
    root: Path, located: Sequence[tuple[Line[Labels], Path]], multi_label: bool, classes: Sequence[str], notes: Notes
) -> DataSet[Labels]:
    """Return the data set of the photos. `classes` are the classes of a table with a column for each class."""
    used = {name for line, _ in located for name in line.target}
    notes[UNUSED_CLASSES] = [name for name in classes if name not in used]
    names = *(name for name in classes if name in used), *sort_classes(used - set(classes))
    photos = [(photo, line.part, line.target, line.target) for line, photo in located]
    return DataSet(root, make_entries(photos, in_folders=not multi_label), names, notes, multi_label=multi_label)


def _tables(root: Path, photos: Files, notes: Notes) -> list[tuple[Table, str]]:
    """Return the tables below `root`, except test tables, each with its part."""
    forms = {path: form for path in list_nearby(root, SUFFIXES) if (form := detect_form(path, photos))}
    used = split_files(list(forms), root, "tables", notes)
    if not used:
        hint = f", only test tables: {', '.join(path.name for path in forms)}" if forms else ""
        hint = hint or (f" ({miss})" if (miss := nearest_miss(root)) else "")
        raise UserError(
            f"{root} has no CSV, TSV or JSON Lines file with columns for photo paths and labels{hint}: put one there, "
            "or one folder below; photos are matched by the end of their paths, such as cat/1.jpg"
        )
    return [(read(path, path.relative_to(root).as_posix(), forms[path]), part) for path, part in used]


def _is_folder(row: Row, cell: Cell, paths: int) -> bool:
    """Return whether a label is a folder in the photo's path."""
    return cell in re.split(r"[/\\]", str(row[paths]))[:-1]


def _part_column(table: Table) -> tuple[int | None, list[int]]:
    """Return the column with the part of each photo, or None, and the columns that may hold labels."""
    others = [number for number in range(len(table.names)) if number != table.paths]
    for number in others:
        cells = {str(row[number]).lower() for row in table.rows} - {"", "unassigned"}
        name = re.sub(r"[\W_]", "", table.names[number].lower())
        words = {cell for cell in cells if from_word(cell)}
        flags = name.startswith("is") and from_word(name[2:]) and cells <= set(ZERO_ONE)
        if flags or (words and (words == cells or name in _PART_NAMES)):
            return number, [other for other in others if other != number]
    return None, others


def _part(name: str, cell: Cell) -> str:
    """Return the part that a cell gives: a word such as test, or a 0 or 1 in a column such as is_valid."""
    flag = ZERO_ONE.get(str(cell).lower())
    if flag is None:
        return from_word(str(cell))
    part = from_word(re.sub(r"[\W_]", "", name.lower())[2:])
    return part if flag else (VALIDATION if part == TRAIN else TRAIN)
