"""Read the .lst files of image-classification: one line per image, index<TAB>label<TAB>path."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from serve.words import plural
from train.data.samples import Sample, one_based_hint
from train.errors import Refuse, UserError, raise_error

_PANDAS = "remove the first column if it is the index that pandas writes (index=False)"
_MAX_NAME = 255  # bytes, on all file systems that a channel can be on
L = TypeVar("L")
LabelReader = Callable[[NDArray[np.float32], str, int], L]
"""Converts the label values of a line or record to a label: `class_id` or `multi_hot`."""


def read(
    path: Path, file: str, folder: Path, classes: int, label: LabelReader[L], refuse: Refuse = raise_error
) -> list[Sample[L]]:
    """Return the samples of a .lst file. Paths are relative to `folder`; the images need not exist.

    `file` is the name of the .lst file in messages. For an invalid line, `refuse` gets a UserError with the file, the
    line number, the value and what is valid.
    """
    listed: list[Sample[L]] = []
    seen: dict[str, int] = {}
    # Not splitlines: it also splits at form feeds, U+2028 and other characters that a file name may contain.
    for number, line in enumerate(_text(path, file).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        fields = line.split("\t")
        try:
            _check_fields(fields, where, first=not seen)
            _check_index(fields[0].strip(), number, where, seen)
            name = _local(fields[-1].strip(" "), folder)
            _check_name(name, where)
            listed.append(Sample(name, label(_numbers(fields[1:-1], where), where, classes), folder / name))
        except UserError as error:
            refuse(error)
    return listed


def _text(path: Path, file: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{file}, line {line} is not UTF-8 ({error.reason}: byte 0x{error.object[error.start]:02x}): save the file "
            "as UTF-8, and encode the names of the images in UTF-8 too"
        ) from None


def _check_fields(fields: Sequence[str], where: str, first: bool) -> None:
    """Raise UserError if a line lacks an index, labels or a path, or if it is the `first` line and a header."""
    line = "\t".join(fields)
    if first and _is_header(fields):
        raise UserError(f"{where} is a header, {line[:120]!r}: remove the line; with pandas, write with header=False")
    if len(fields) < 3:
        raise UserError(
            f"{where} has {plural(len(fields), 'tab-separated field')}: it must be "
            f"index<TAB>label<TAB>relative/path but is {line[:120]!r}"
        )
    if not fields[-1].strip(" "):
        raise UserError(f"{where} ends in a tab: remove it, so that the line is {line.rstrip()[:120]!r}")


def _check_index(index: str, number: int, where: str, seen: dict[str, int]) -> None:
    """Raise UserError if `seen`, which maps indices to line numbers, has the index; otherwise add it."""
    if index in seen:
        raise UserError(
            f"{where} repeats the index {index!r} of line {seen[index]}: every index must be unique, and there "
            "must be no header"
        )
    seen[index] = number


def _is_header(fields: Sequence[str]) -> bool:
    """Return whether neither index nor labels are numbers, or the first field is empty, as in pandas headers."""
    numbers = _is_number(fields[0]) or all(map(_is_number, fields[1:-1]))
    return len(fields) > 2 and (not numbers or not fields[0].strip())


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _local(name: str, folder: Path) -> str:
    """Convert a Windows path to forward slashes if a file exists only under that name; return other paths unchanged."""
    if "\\" not in name or os.path.exists(folder / name):
        return name
    local = name.replace("\\", "/")
    return local if os.path.exists(f"{folder}/{local}") and not local.startswith("/") else name


def _check_name(name: str, where: str) -> None:
    """Raise UserError for a path that no file can have. Opening it would fail without naming the line."""
    if "\0" in name:
        raise UserError(
            f"{where} has a NUL in the path {name[:120]!r}: file names cannot contain NUL; save the .lst file as text"
        )
    longest = max(name.split("/"), key=lambda part: len(part.encode()))
    if len(longest.encode()) > _MAX_NAME:
        raise UserError(
            f"{where} has a file name of {len(longest.encode())} bytes, {longest[:60]!r}...: the limit is "
            f"{_MAX_NAME}; fix the line, which may lack a tab or a line break"
        )


def _numbers(fields: list[str], where: str) -> NDArray[np.float32]:
    try:
        return np.array([float(field) for field in fields], np.float32)
    except ValueError:
        raise UserError(
            f"{where} has a label that is not a number: {' '.join(fields)[:60]!r}; labels are "
            "numbers from 0 to num_classes - 1"
        ) from None


def multi_hot(values: NDArray[np.float32], where: str, classes: int) -> NDArray[np.float32]:
    """Return the values (n,), which must be a 0 or 1 for each class.

    Raises UserError with the place, the values and what is valid.
    """
    if values.shape != (classes,) or not np.isin(values, (0, 1)).all():
        hint = f"; {_PANDAS}" if len(values) == classes + 1 else ""
        raise UserError(
            f"{where} has {plural(len(values), 'label value')} {values[:8].tolist()}: with multi_label=1 it "
            f"needs num_classes={classes} values of 0 or 1{hint}"
        )
    return values


def class_id(values: NDArray[np.float32], where: str, classes: int) -> int:
    """Return the class id in `values` (n,), which must have exactly one.

    Raises UserError with the place, the value and what is valid.
    """
    if len(values) != 1:
        hint = f", or {_PANDAS}" if len(values) == 2 else ""
        raise UserError(
            f"{where} has {plural(len(values), 'label')}: without multi_label=1 a sample has one; set multi_label=1 if "
            f"samples have several{hint}"
        )
    value = float(values[0])
    if not (value.is_integer() and 0 <= value < classes):
        raise UserError(
            f"{where} has the label {value:g}: labels are whole numbers from 0 to {classes - 1} (num_classes={classes})"
            f"{one_based_hint(value, classes)}"
        )
    return int(value)
