"""Augmented manifests of SageMaker: JSON Lines, each about one photo in S3, and the labels that Ground Truth adds.

    {"source-ref": "s3://bucket/a/1.jpg", "NAME": LABEL, "NAME-metadata": {"type": "groundtruth/...", ...}}

Described in SageMaker's developer guide ("Labeling job output data"); NAME is the job's own.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.datasets.dataset import TRAIN, UNUSABLE, VALIDATION
from local.datasets.files import parts, texts
from local.datasets.files.walk import list_files
from local.datasets.notes import Notes, require_usable
from local.errors import UserError

Json = Any

_SUFFIXES = (".manifest", ".jsonl", ".json")
_REFS = ("source-ref", "image-ref")  # The guide's manifests for the built-in image classification have the second.
_METADATA = "-metadata"
_LONGEST = 400_000  # bytes of a line: Ground Truth takes 100,000 characters
_FEW = 20  # files .json in a folder: where there are more, each is about one photo
_NO_PHOTO = (".json", ".jsonl", ".txt", ".csv", ".mp4", ".mov", ".avi", ".pcd", ".bin", ".pdf")
_OTHER_TYPES = ("groundtruth/video", "groundtruth/point-cloud", "groundtruth/text")
# What a job leaves beside `manifests`, the folder of its output.
_OF_JOBS = {"activelearning", "annotation-tool", "annotations", "inference", "intermediate", "temp", "training"}


@dataclass(frozen=True)
class Label:
    """What a line has under one name: its value, None where the job has failed, and the metadata of the job, if any.

    `where` is the line's.
    """

    where: str
    name: str
    value: Json
    metadata: Mapping[str, Json]

    @property
    def type(self) -> str:
        """Ground Truth's name of the task, "" without one."""
        return str(self.metadata.get("type", ""))

    @property
    def failure(self) -> str:
        """Why the job has failed here, "" if it has not."""
        return " ".join(str(self.metadata.get("failure-reason", "")).split())[:80]


@dataclass(frozen=True)
class Line:
    """A line of a manifest: its file and number as messages call them, where the photo is in S3, and what it has.

    `part` is TRAIN, VALIDATION, TEST or "", by the name of the file or of a folder above it.
    """

    where: str
    file: Path
    part: str
    ref: str
    content: Mapping[str, Json]

    def jobs(self) -> Iterator[Label]:
        """The label that each job wrote, in the line's order."""
        for key, metadata in self.content.items():
            if key.endswith(_METADATA) and isinstance(metadata, dict):
                name = key.removesuffix(_METADATA)
                # The guide's example of an adjusted mask has NAME-ref beside NAME-metadata.
                value = self.content.get(name, self.content.get(f"{name}-ref"))
                yield Label(self.where, name, None if "failure-reason" in metadata else value, metadata)

    def attributes(self) -> Iterator[Label]:
        """Whatever there is, as in manifests made by hand."""
        for name, value in self.content.items():
            if name not in _REFS and not name.endswith(_METADATA):
                metadata = self.content.get(name + _METADATA)
                yield Label(self.where, name, value, metadata if isinstance(metadata, dict) else {})


def files(root: Path) -> Iterator[Path]:
    """The manifests below `root`, known by their first lines; in the folder of a Ground Truth job its output alone."""
    paths = [root / name for name in list_files(root, _SUFFIXES)]
    crowd = Counter(path.parent for path in paths if path.name.lower().endswith(".json"))
    for path in paths:
        crowded = path.name.lower().endswith(".json") and crowd[path.parent] > _FEW
        folders = path.relative_to(root).parents[:-1]
        if not crowded and not any(_is_beside_output(root / folder) for folder in folders) and _is_manifest(path):
            yield path


def lines(root: Path, notes: Notes) -> list[Line]:
    """Read all manifests below `root`, in the order of their paths; lines that cannot be used go into `notes`.

    Raises UserError naming the file and the line: no manifest, one about texts, videos or point clouds, one of which
    more lines are bad than good.
    """
    paths = list(files(root))
    if not paths:
        raise UserError(
            f"{root} has no manifest: it is a file *.manifest, *.jsonl or *.json of which each line is a JSON object "
            'with a "source-ref"'
        )
    found: list[Line] = []
    bad: list[str] = []
    for path, part in zip(paths, _parts(root, paths), strict=True):
        for where, text in _texts(root, path):
            try:
                found.append(_line(where, path, part, text))
            except ValueError as error:
                bad.append(f"{where} {error}")
    require_usable(root, len(found), bad, "line")
    notes[UNUSABLE] = bad
    return found


def _is_beside_output(folder: Path) -> bool:
    """Whether a folder is one of a job's that does not hold its output."""
    if folder.parent.name == "manifests":
        return folder.name != "output" and folder.with_name("output").is_dir()
    return folder.name in _OF_JOBS and folder.with_name("manifests").is_dir()


def _is_manifest(path: Path) -> bool:
    """Whether the first line is about a photo, or about a text that a job has labelled."""
    begin = next((line for line in texts.first_bytes(path, _LONGEST).splitlines() if line.strip()), b"")
    try:
        first = json.loads(begin.decode("utf-8-sig")) if b"source" in begin or b"image-ref" in begin else None
    except (ValueError, RecursionError):
        return False
    if not isinstance(first, dict):
        return False
    text = isinstance(first.get("source"), str) and any(key.endswith(_METADATA) for key in first)
    return text or any(isinstance(first.get(key), str) for key in _REFS)


def _texts(root: Path, path: Path) -> Iterator[tuple[str, str]]:
    """The lines of a file that are not empty, and what messages call them."""
    name = path.relative_to(root).as_posix()
    text = texts.read_text(path, name)
    # Not splitlines: it also splits at characters that JSON texts may hold.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{name} line {number}", line


def _line(where: str, path: Path, part: str, text: str) -> Line:
    """Raises ValueError with what is wrong in words, UserError where it is wrong with the whole file."""
    try:
        content = json.loads(text)
        if r"\ud" in text.lower():
            json.dumps(content, ensure_ascii=False).encode()  # Half of a surrogate pair, which nobody could print.
    except (ValueError, RecursionError) as error:
        why = f"{error.msg} in column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)[:80]
        raise ValueError(f"is not JSON ({why}): a manifest has one object on each line") from None
    if not isinstance(content, dict):
        raise ValueError('is not a JSON object: it has at least "source-ref", the address of a photo')
    ref = next((content[key] for key in _REFS if key in content), None)
    if ref is None and "source" in content:
        raise UserError(f'{where} has a "source", which is a text: photos are named by "source-ref"')
    if not isinstance(ref, str) or not ref.strip("/\\ ") or re.search(r"[\x00-\x1f\x7f]", ref):
        raise ValueError('has no "source-ref": it is the address of a photo, such as s3://bucket/a/1.jpg')
    line = Line(where, path, part, ref, content)
    for label in line.jobs():
        if label.type.startswith(_OTHER_TYPES):
            raise UserError(f"{where} is of a job of the type {label.type[:60]}: only those that label photos are read")
    if ref.lower().endswith(_NO_PHOTO):
        raise UserError(f"{where} is about {ref}, which is not a photo: only manifests about photos are read")
    return line


def _parts(root: Path, paths: Sequence[Path]) -> list[str]:
    """The part of each manifest; TEST only beside others, as many a job is called a test."""
    found = [parts.of_path(path.relative_to(root).with_suffix("")) for path in paths]
    return found if {*found} & {TRAIN, VALIDATION} else [""] * len(paths)
